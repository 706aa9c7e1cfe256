//! Specifications in JSON, as Python hands them over.

use punktfunk_core::emulate::{LinkModel, LinkSpec};
use punktfunk_core::sim::SimSpec;

/// A link that parses can be built and asked; a simulation that parses can say its frames' sizes.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(link) = LinkSpec::from_json(text) {
        let mut model = LinkModel::new(&link, 1, 0).expect("what was validated can be built");
        for n in 0..50 {
            let now = n * 100_000;
            for delivery in model.offer(now, 1250).deliveries() {
                assert!(delivery.at_ns >= now, "delivered before it was sent");
            }
        }
        let counters = model.counters();
        assert_eq!(counters.link_in, 50);
        assert_eq!(
            counters.link_in + counters.duplicated,
            counters.dropped_total() + counters.delivered + counters.in_flight()
        );
    }
    if let Ok(sim) = SimSpec::from_json(text) {
        let _ = sim.frame_bytes(0);
    }
}

pub fn documents() -> Vec<Vec<u8>> {
    [
        r#"{"rate_kbps":50000,"queue_packets":100,"delay_us":500.0,"jitter_us":100.0,"jitter_distribution":"normal","loss":{"kind":"gilbert_elliott","p":0.01,"r":0.3}}"#,
        r#"{"loss":{"kind":"periodic","every":8},"reorder":{"p":0.1,"extra_us":200.0},"duplicate":0.1,"corrupt":0.05,"corrupt_mode":"payload"}"#,
        r#"{"trace":[{"at_ms":0,"rate_kbps":1000},{"at_ms":3.5,"loss_p":0.5}],"trace_repeat":true,"changes":[{"at_ms":1,"set":{"delay_us":900}}]}"#,
        r#"{"stream":{"scheme":"gf8","max_block_shards":64,"shard_bytes":1024,"fec_percent":25},"link":{"loss":{"kind":"independent","p":0.02}},"seed":1,"frames":10,"fps":60.0,"frame_bytes":{"kind":"constant","bytes":1000}}"#,
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
