#version 450
#extension GL_GOOGLE_include_directive : require
#define NINE_TAPS
#define R 32
#define C 2
#include "shaders/gemm_cpu_quant.glsl"
