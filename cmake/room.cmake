# The pieces that the rooms of the architecture are built from.
pkg_check_modules(VULKAN REQUIRED IMPORTED_TARGET vulkan>=1.3.204)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)
find_package(ZLIB REQUIRED)
find_program(GLSLC glslc REQUIRED)
find_program(SPIRV_VAL spirv-val REQUIRED)

# sdvk_room(NAME FOLDER [USES rooms...] [LINK libraries...]): a static library of the C files in FOLDER (and its
# op/ folder). A room without sources yet is left out, and so are the rooms that would use it.
function(sdvk_room name folder)
  cmake_parse_arguments(R "" "" "USES;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.c ${folder}/op/*.c)
  list(FILTER sources EXCLUDE REGEX "/main\\.c$")
  if(NOT sources)
    return()
  endif()
  add_library(sdvk_${name} STATIC ${sources})
  target_include_directories(sdvk_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
  foreach(used ${R_USES})
    if(TARGET sdvk_${used})
      target_link_libraries(sdvk_${name} PUBLIC sdvk_${used})
    endif()
  endforeach()
  target_link_libraries(sdvk_${name} PUBLIC ${R_LINK})
endfunction()

# sdvk_program(NAME PLACE USES rooms...): of the C files in a folder, or of one file over a room of its own.
function(sdvk_program name place)
  cmake_parse_arguments(R "" "" "USES" ${ARGN})
  if(place MATCHES "\\.c$")
    set(sources ${place})
  else()
    file(GLOB sources CONFIGURE_DEPENDS ${place}/*.c)
  endif()
  if(NOT sources)
    return()
  endif()
  add_executable(${name} ${sources})
  foreach(used ${R_USES})
    target_link_libraries(${name} PRIVATE sdvk_${used})
  endforeach()
  install(TARGETS ${name})
endfunction()

# sdvk_shaders(FOLDER): every *.comp becomes validated SPIR-V in a C array, declared in "shaders/shaders.h" as
# `extern const struct sd_shader sd_shader_NAME`. *_coop.comp use cooperative matrices: they are rewritten after the
# validation, which knows only the dialect that glslc writes.
function(sdvk_shaders folder)
  add_executable(sdvk_coop_khr cmake/coop_khr.c)
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.comp)
  # Every shader depends on all of these: glslc writes no dependency files that hold in folders with blanks.
  file(GLOB included CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.glsl
       ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.h)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/generated/shaders)
  set(header "/* Generated from the shader files. */\n#ifndef SD_SHADERS_H\n#define SD_SHADERS_H\n#include \"shaders/shader.h\"\n")
  set(objects)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    string(APPEND header "extern const struct sd_shader sd_shader_${name};\n")
    set(rewrite)
    if(name MATCHES "_coop$")
      set(rewrite COMMAND sdvk_coop_khr ${out}/${name}.spv ${out}/${name}.spv)
    endif()
    add_custom_command(
      OUTPUT ${out}/${name}.c
      COMMAND ${CMAKE_COMMAND} -E make_directory ${out}
      COMMAND ${GLSLC} -O --target-env=vulkan1.2 -Werror -I ${CMAKE_CURRENT_SOURCE_DIR}
              -o ${out}/${name}.spv ${source}
      COMMAND ${SPIRV_VAL} --target-env vulkan1.2 ${out}/${name}.spv
      ${rewrite}
      COMMAND ${CMAKE_COMMAND} -DSPV=${out}/${name}.spv -DNAME=${name} -DOUT=${out}/${name}.c
              -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/embed_spirv.cmake
      DEPENDS ${source} ${included} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/embed_spirv.cmake sdvk_coop_khr
      COMMENT "Shader ${name}" VERBATIM)
    list(APPEND objects ${out}/${name}.c)
  endforeach()
  string(APPEND header "#endif\n")
  file(CONFIGURE OUTPUT ${out}/shaders.h CONTENT "${header}" @ONLY)
  add_library(sdvk_shaders STATIC ${objects} ${folder}/shader.h)
  set_target_properties(sdvk_shaders PROPERTIES LINKER_LANGUAGE C)
  target_include_directories(sdvk_shaders PUBLIC ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_BINARY_DIR}/generated)
endfunction()

# sdvk_embed_text(ROOM FILE SYMBOL): the text file becomes `extern const char SYMBOL[]; extern const size_t
# SYMBOL_size;` in the room's library.
function(sdvk_embed_text room file symbol)
  if(NOT TARGET sdvk_${room})
    return()
  endif()
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/generated/text/${symbol}.c)
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DTEXT=${source} -DNAME=${symbol} -DOUT=${out}
            -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/embed_text.cmake
    DEPENDS ${source} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/embed_text.cmake
    COMMENT "Text ${symbol}" VERBATIM)
  target_sources(sdvk_${room} PRIVATE ${out})
endfunction()
