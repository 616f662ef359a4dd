#version 450
#extension GL_GOOGLE_include_directive : require
#define QUANT
#define NINE_TAPS
#include "shaders/gemm_coop.glsl"
