# cmake -DTEXT=file -DNAME=symbol -DOUT=file.c -P embed_text.cmake: a text file without NULs as a C string literal.
file(READ ${TEXT} text)
string(REPLACE "\\" "\\\\" text "${text}")
string(REPLACE "\"" "\\\"" text "${text}")
string(REPLACE "?" "\\?" text "${text}") # no trigraphs
string(REPLACE "\n" "\\n\"\n\"" text "${text}")
file(WRITE ${OUT} "#include <stddef.h>\nextern const char ${NAME}[];\nextern const size_t ${NAME}_size;\n"
  "const char ${NAME}[] =\n\"${text}\";\nconst size_t ${NAME}_size = sizeof ${NAME} - 1;\n")
