#version 450
#extension GL_GOOGLE_include_directive : require
#define NINE_TAPS
#define R 16
#define C 8
#include "shaders/gemm_cpu_quant.glsl"
