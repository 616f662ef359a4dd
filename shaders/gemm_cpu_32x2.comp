#version 450
#extension GL_GOOGLE_include_directive : require
#define R 32
#define C 2
#include "shaders/gemm_cpu.glsl"
