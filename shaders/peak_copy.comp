#version 450
#extension GL_GOOGLE_include_directive : require
#define WORD uvec4
#define WORD_BYTES 16
#include "shaders/peak_copy.glsl"
