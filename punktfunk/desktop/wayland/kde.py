"""The interfaces of KWin that pywayland has no binding for, as they stand on the wire.

Sources of the facts: zkde_screencast_unstable_v1 version 6 and, of 2026-06, kde_output_device_v2 and
kde_output_management_v2. KDE may change them without another name; a message that is not used is declared all the same,
for a message's place is its number.
"""

from __future__ import annotations

from typing import Final

from pywayland.protocol.wayland import WlOutput

from punktfunk.desktop.wayland.declare import Declaration, build

SCREENCAST: Final = "zkde_screencast_unstable_v1"

_SCREENCAST = (
    Declaration(
        SCREENCAST,
        version=6,
        requests=(
            "stream_output(new:zkde_screencast_stream_unstable_v1, object:wl_output, uint)",
            "stream_window(new:zkde_screencast_stream_unstable_v1, string, uint)",
            "destructor destroy()",
            "since 2 stream_virtual_output(new:zkde_screencast_stream_unstable_v1, string, int, int, fixed, uint)",
            "since 3 stream_region(new:zkde_screencast_stream_unstable_v1, int, int, uint, uint, fixed, uint)",
            "since 4 stream_virtual_output_with_description("
            "new:zkde_screencast_stream_unstable_v1, string, string, int, int, fixed, uint)",
        ),
    ),
    Declaration(
        "zkde_screencast_stream_unstable_v1",
        version=6,
        requests=("destructor close()",),
        events=("closed()", "created(uint)", "failed(string)", "since 6 serial(uint, uint)"),
    ),
)

_ORDER = Declaration(
    "kde_output_order_v1", version=1, requests=("destructor destroy()",), events=("output(string)", "done()")
)

DEVICE: Final = "kde_output_device_v2"
"""A global of each output; no longer where there is a registry of them."""
DEVICES: Final = "kde_output_device_registry_v2"
MANAGEMENT: Final = "kde_output_management_v2"

_DEVICE = (
    Declaration(
        DEVICES,
        version=23,
        requests=("since 21 stop()",),
        events=("since 21 finished()", "since 21 output(new:kde_output_device_v2)"),
    ),
    Declaration(
        DEVICE,
        version=23,
        requests=("since 21 destructor release()",),
        events=(
            "geometry(int, int, int, int, int, string, string, int)",
            "current_mode(object:kde_output_device_mode_v2)",
            "mode(new:kde_output_device_mode_v2)",
            "done()",
            "scale(fixed)",
            "edid(string)",
            "enabled(int)",
            "uuid(string)",
            "serial_number(string)",
            "eisa_id(string)",
            "capabilities(uint)",
            "overscan(uint)",
            "vrr_policy(uint)",
            "rgb_range(uint)",
            "since 2 name(string)",
            "since 3 high_dynamic_range(uint)",
            "since 3 sdr_brightness(uint)",
            "since 3 wide_color_gamut(uint)",
            "since 4 auto_rotate_policy(uint)",
            "since 5 icc_profile_path(string)",
            "since 6 brightness_metadata(uint, uint, uint)",
            "since 6 brightness_overrides(int, int, int)",
            "since 6 sdr_gamut_wideness(uint)",
            "since 7 color_profile_source(uint)",
            "since 8 brightness(uint)",
            "since 10 color_power_tradeoff(uint)",
            "since 11 dimming(uint)",
            "since 13 replication_source(string)",
            "since 14 ddc_ci_allowed(uint)",
            "since 15 max_bits_per_color(uint)",
            "since 15 max_bits_per_color_range(uint, uint)",
            "since 15 automatic_max_bits_per_color_limit(uint)",
            "since 16 edr_policy(uint)",
            "since 17 sharpness(uint)",
            "since 18 priority(uint)",
            "since 20 auto_brightness(uint)",
            "since 21 removed()",
            "since 22 hdr_icc_profile_path(string)",
            "since 22 hdr_color_profile_source(uint)",
            "since 23 abm_level(uint)",
        ),
    ),
    Declaration(
        "kde_output_device_mode_v2",
        version=23,
        events=("size(int, int)", "refresh(int)", "preferred()", "removed()", "since 19 flags(uint)"),
    ),
)

_MANAGEMENT = (
    Declaration(
        MANAGEMENT,
        version=18,
        requests=(
            "create_configuration(new:kde_output_configuration_v2)",
            "since 18 create_mode_list(new:kde_mode_list_v2)",
        ),
    ),
    Declaration(
        "kde_output_configuration_v2",
        version=18,
        requests=(
            "enable(object:kde_output_device_v2, int)",
            "mode(object:kde_output_device_v2, object:kde_output_device_mode_v2)",
            "transform(object:kde_output_device_v2, int)",
            "position(object:kde_output_device_v2, int, int)",
            "scale(object:kde_output_device_v2, fixed)",
            "apply()",
            "destructor destroy()",
            "overscan(object:kde_output_device_v2, uint)",
            "set_vrr_policy(object:kde_output_device_v2, uint)",
            "set_rgb_range(object:kde_output_device_v2, uint)",
            "since 2 set_primary_output(object:kde_output_device_v2)",
            "since 3 set_priority(object:kde_output_device_v2, uint)",
            "since 4 set_high_dynamic_range(object:kde_output_device_v2, uint)",
            "since 4 set_sdr_brightness(object:kde_output_device_v2, uint)",
            "since 4 set_wide_color_gamut(object:kde_output_device_v2, uint)",
            "since 5 set_auto_rotate_policy(object:kde_output_device_v2, uint)",
            "since 6 set_icc_profile_path(object:kde_output_device_v2, string)",
            "since 7 set_brightness_overrides(object:kde_output_device_v2, int, int, int)",
            "since 7 set_sdr_gamut_wideness(object:kde_output_device_v2, uint)",
            "since 8 set_color_profile_source(object:kde_output_device_v2, uint)",
            "since 9 set_brightness(object:kde_output_device_v2, uint)",
            "since 10 set_color_power_tradeoff(object:kde_output_device_v2, uint)",
            "since 11 set_dimming(object:kde_output_device_v2, uint)",
            "since 13 set_replication_source(object:kde_output_device_v2, string)",
            "since 14 set_ddc_ci_allowed(object:kde_output_device_v2, uint)",
            "since 15 set_max_bits_per_color(object:kde_output_device_v2, uint)",
            "since 16 set_edr_policy(object:kde_output_device_v2, uint)",
            "since 17 set_sharpness(object:kde_output_device_v2, uint)",
            "since 18 set_custom_modes(object:kde_output_device_v2, object:kde_mode_list_v2)",
        ),
        events=("applied()", "failed()", "since 12 failure_reason(string)"),
    ),
    Declaration(
        "kde_mode_list_v2",
        version=18,
        requests=(
            "destructor destroy()",
            "add_mode()",
            "set_resolution(uint, uint)",
            "set_refresh_rate(uint)",
            "set_reduced_blanking(uint)",
        ),
    ),
)

INTERFACES: Final = build((*_SCREENCAST, _ORDER, *_DEVICE, *_MANAGEMENT), {WlOutput.name: WlOutput})
"""Interface classes by the name that the compositor announces them under."""
