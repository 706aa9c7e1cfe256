//! Fuzz bodies: plain functions that take any bytes and hold what must hold for all of them.
//!
//! A body panics on a violation and never otherwise. `tests/fuzz.rs` feeds them mutations of the seeds below; a
//! coverage-guided fuzzer can call the same functions (`fuzz_target!(|data: &[u8]| bodies::client(data))`).

mod codec;
mod enet;
mod gamestream;
mod interface;
mod session;
mod shards;
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
pub const BODIES: [Body; 13] = [
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
        run: interface::specifications,
        seeds: interface::documents,
    },
    Body {
        name: "c_config",
        run: interface::c_config,
        seeds: interface::c_configs,
    },
    Body {
        name: "c_gamestream",
        run: interface::c_gamestream,
        seeds: interface::c_gamestreams,
    },
    Body {
        name: "enet",
        run: enet::datagrams,
        seeds: enet::conversations,
    },
];
