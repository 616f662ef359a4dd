# cmake -DSPV=file.spv -DNAME=name -DOUT=file.c -P embed_spirv.cmake: SPIR-V as a C array of words.
file(READ ${SPV} hex HEX)
string(REGEX REPLACE "(..)(..)(..)(..)" "0x\\4\\3\\2\\1," words "${hex}")
file(WRITE ${OUT} "#include \"shaders/shader.h\"\nextern const struct sd_shader sd_shader_${NAME};\n"
  "static const uint32_t code[] = {${words}};\n"
  "const struct sd_shader sd_shader_${NAME} = {\"${NAME}\", code, sizeof code};\n")
