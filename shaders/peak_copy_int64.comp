#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
/* The widest load that llvmpipe makes in one piece. */
#define WORD uint64_t
#define WORD_BYTES 8
#include "shaders/peak_copy.glsl"
