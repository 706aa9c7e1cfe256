//! Fuzz bodies: plain functions that take any bytes and hold what must hold for all of them.
//!
//! A body panics on a violation and never otherwise. `tests/fuzz.rs` feeds them mutations of the seeds below, `guided.rs` what
//! libFuzzer makes of them, led by the lines that an input reaches.

mod abi;
mod codec;
mod enet;
mod gamestream;
mod input;
mod session;
mod shards;
mod specifications;
mod wire;

/// A body with the inputs that mutation starts from.
pub struct Body {
    /// Name in reports and for `-- NAME`.
    pub name: &'static str,
    /// Holds its properties or panics.
    pub run: fn(&[u8]),
    /// Inputs that get past the first checks.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every body.
pub const BODIES: [Body; 17] = [
    Body {
        name: "header",
        run: wire::header,
        seeds: wire::headers,
    },
    Body {
        name: "open",
        run: wire::open,
        seeds: wire::sealed,
    },
    Body {
        name: "replay",
        run: wire::replay,
        seeds: wire::sequences,
    },
    Body {
        name: "codec",
        run: codec::rebuild,
        seeds: codec::blocks,
    },
    Body {
        name: "geometry",
        run: codec::rebuild_wide,
        seeds: codec::wide_blocks,
    },
    Body {
        name: "shards",
        run: shards::reassemble,
        seeds: shards::frames,
    },
    Body {
        name: "client_plain",
        run: session::plain,
        seeds: session::streams,
    },
    Body {
        name: "client_link",
        run: session::link,
        seeds: session::faults,
    },
    Body {
        name: "gamestream_video",
        run: gamestream::video,
        seeds: gamestream::streams,
    },
    Body {
        name: "gamestream_audio",
        run: gamestream::audio,
        seeds: gamestream::sounds,
    },
    Body {
        name: "specifications",
        run: specifications::check,
        seeds: specifications::documents,
    },
    Body {
        name: "enet",
        run: enet::datagrams,
        seeds: enet::conversations,
    },
    Body {
        name: "c_session",
        run: abi::session::punktfunk1,
        seeds: abi::session::punktfunk1_seeds,
    },
    Body {
        name: "c_gamestream",
        run: abi::session::gamestream,
        seeds: abi::session::gamestream_seeds,
    },
    Body {
        name: "c_fec",
        run: abi::codec::run,
        seeds: abi::codec::seeds,
    },
    Body {
        name: "c_audio",
        run: abi::audio::run,
        seeds: abi::audio::seeds,
    },
    Body {
        name: "c_enet",
        run: abi::enet::run,
        seeds: abi::enet::seeds,
    },
];
