# `cmake --install` lays down the library, its headers, the tool and the package that find_package(Osculant) reads.
include(CMakePackageConfigHelpers)
set(OSCULANT_CONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Osculant)

install(TARGETS osculant EXPORT OsculantTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
                                                LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY osculant/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/osculant
        FILES_MATCHING PATTERN "*.h"
        PATTERN "pch.h" EXCLUDE PATTERN "testing.h" EXCLUDE PATTERN "cli" EXCLUDE PATTERN "assets" EXCLUDE
        # Within the library alone: they bring in JSON or TOML.
        PATTERN "exported_json.h" EXCLUDE PATTERN "run_key.h" EXCLUDE PATTERN "record.h" EXCLUDE
        PATTERN "assets.h" EXCLUDE PATTERN "*_page.h" EXCLUDE
        PATTERN "*_fields.h" EXCLUDE PATTERN "analysis_part.h" EXCLUDE)
install(EXPORT OsculantTargets NAMESPACE Osculant:: DESTINATION ${OSCULANT_CONFIG_DIR})
configure_package_config_file(cmake/OsculantConfig.cmake.in OsculantConfig.cmake
                              INSTALL_DESTINATION ${OSCULANT_CONFIG_DIR})
write_basic_package_version_file(OsculantConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/OsculantConfig.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/OsculantConfigVersion.cmake DESTINATION ${OSCULANT_CONFIG_DIR})
