# The software devices of the tests. Tests run on llvmpipe with its usual subgroups of 8 unless they say otherwise,
# also where the machine has a GPU, so that results do not depend on the machine.
set(SDVK_TEST_ICD "" CACHE FILEPATH "Vulkan driver manifest of the tests; empty: Mesa's llvmpipe")
set(SDVK_SWIFTSHADER_ICD "" CACHE FILEPATH "SwiftShader's manifest; empty: that of Debian's chromium-common")

set(SDVK_LLVMPIPE ${SDVK_TEST_ICD})
if(NOT SDVK_LLVMPIPE)
  file(GLOB found /usr/share/vulkan/icd.d/lvp_icd*.json)
  list(APPEND found /usr/share/vulkan/icd.d/lvp_icd.x86_64.json)
  list(GET found 0 SDVK_LLVMPIPE)
endif()
set(SDVK_SWIFTSHADER ${SDVK_SWIFTSHADER_ICD})
if(NOT SDVK_SWIFTSHADER)
  set(SDVK_SWIFTSHADER /usr/lib/chromium/vk_swiftshader_icd.json)
endif()

# Both names: loaders before 1.3.207 know only the first one.
set(SDVK_ON_LLVMPIPE VK_ICD_FILENAMES=${SDVK_LLVMPIPE} VK_DRIVER_FILES=${SDVK_LLVMPIPE})
set(SDVK_ON_SWIFTSHADER VK_ICD_FILENAMES=${SDVK_SWIFTSHADER} VK_DRIVER_FILES=${SDVK_SWIFTSHADER})

# sdvk_on_every_device(NAME): the test of the target test_NAME again with subgroups of 4, 16 and 32 and on
# SwiftShader, as NAME@sg4 ... NAME@swiftshader, with a share of the random cases (each compiles its own pipelines,
# which takes seconds there). A missing device fails the test.
function(sdvk_on_every_device name)
  string(REPLACE "__" "." shown ${name})
  foreach(subgroup 4 16 32)
    math(EXPR bits "${subgroup} * 32")
    add_test(NAME ${shown}@sg${subgroup} COMMAND test_${name})
    set_tests_properties(${shown}@sg${subgroup} PROPERTIES TIMEOUT 900 ENVIRONMENT
      "${SDVK_ON_LLVMPIPE};LP_NATIVE_VECTOR_WIDTH=${bits};SDVK_TEST_SUBGROUP=${subgroup};SDVK_TEST_SHARE=4")
  endforeach()
  add_test(NAME ${shown}@swiftshader COMMAND test_${name})
  set_tests_properties(${shown}@swiftshader PROPERTIES TIMEOUT 900 ENVIRONMENT
    "${SDVK_ON_SWIFTSHADER};SDVK_TEST_SUBGROUP=4;SDVK_TEST_SHARE=8")
endfunction()
