# What `cmake --install` gives: the program, libsd (all rooms in one library) with its public headers, a pkg-config
# file and a CMake package, the manual page, shell completions and the sample model.
include(CMakePackageConfigHelpers)

set(SD_PUBLIC_HEADERS sd/sd.h sd/tools.h sd/base/status.h sd/base/log.h)

# sdvk_library(ROOMS...): libsd, static unless BUILD_SHARED_LIBS is on.
function(sdvk_library)
  set(objects)
  foreach(room ${ARGN})
    if(TARGET sdvk_${room})
      list(APPEND objects $<TARGET_OBJECTS:sdvk_${room}>)
    endif()
  endforeach()
  add_library(sd ${objects})
  add_library(sdvk::sd ALIAS sd)
  set_target_properties(sd PROPERTIES LINKER_LANGUAGE C VERSION ${PROJECT_VERSION}
                        SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  target_include_directories(sd INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                          $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(sd PRIVATE PkgConfig::VULKAN PkgConfig::CJSON PkgConfig::UTF8PROC PkgConfig::SQLITE
                                   OpenSSL::Crypto PNG::PNG JPEG::JPEG Threads::Threads m)
  if(BUILD_SHARED_LIBS)
    sdvk_export_public_names(sd)
  endif()
endfunction()

# A shared library exports what the public headers declare and nothing else.
function(sdvk_export_public_names target)
  set(names)
  foreach(header ${SD_PUBLIC_HEADERS})
    file(READ ${PROJECT_SOURCE_DIR}/${header} text)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${header})
    string(REGEX MATCHALL "sd_[a-z0-9_]+\\(" found "${text}")
    list(APPEND names ${found})
  endforeach()
  list(REMOVE_DUPLICATES names)
  list(TRANSFORM names REPLACE "\\(" "")
  list(JOIN names "; " names)
  set(script ${CMAKE_CURRENT_BINARY_DIR}/libsd.map)
  file(WRITE ${script} "SD_${PROJECT_VERSION_MAJOR} { global: ${names}; local: *; };\n")
  target_link_options(${target} PRIVATE LINKER:--version-script,${script})
  set_target_properties(${target} PROPERTIES LINK_DEPENDS ${script})
endfunction()

function(sdvk_install)
  # A program that links the static library needs its libraries too; one that links the shared library does not.
  set(requires "vulkan >= 1.3.204, libcjson, libutf8proc, sqlite3, libcrypto, libpng, libjpeg")
  if(BUILD_SHARED_LIBS)
    set(SD_REQUIRES "Requires.private: ${requires}")
    set(SD_LIBS "Libs.private: -lm -lpthread")
  else()
    set(SD_REQUIRES "Requires: ${requires}")
    set(SD_LIBS "")
    set(SD_STATIC_LIBS " -lm -lpthread")
  endif()
  # Relative to the file itself, so that `cmake --install --prefix` and moved trees work.
  file(RELATIVE_PATH SD_PC_UP /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
  configure_file(cmake/libsd.pc.in libsd.pc @ONLY)
  configure_package_config_file(cmake/sdvkConfig.cmake.in sdvkConfig.cmake
                                INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/sdvk)
  write_basic_package_version_file(sdvkConfigVersion.cmake COMPATIBILITY SameMinorVersion)

  install(TARGETS sd EXPORT sdvkTargets)
  install(EXPORT sdvkTargets NAMESPACE sdvk:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/sdvk)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/sdvkConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/sdvkConfigVersion.cmake
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/sdvk)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/libsd.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  foreach(header ${SD_PUBLIC_HEADERS})
    get_filename_component(folder ${header} DIRECTORY)
    install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/${folder})
  endforeach()
  install(FILES docs/sdvk.1 docs/sdvk-server.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES cli/completions/sdvk.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME sdvk)
  install(FILES cli/completions/sdvk.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _sdvk)
  install(FILES cli/completions/sdvk.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
  install(FILES LICENSE NOTICE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
  install(DIRECTORY samples/mockup samples/loras DESTINATION ${CMAKE_INSTALL_DATADIR}/sdvk/samples)
endfunction()
