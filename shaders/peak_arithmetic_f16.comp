#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
/* Two halves at once, as GPUs pack them. */
#define REAL f16vec2
#define FIRST(two) float(two.x)
#include "shaders/peak_arithmetic.glsl"
