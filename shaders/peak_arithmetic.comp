#version 450
#extension GL_GOOGLE_include_directive : require
#define REAL float
#define FIRST(one) one
#include "shaders/peak_arithmetic.glsl"
