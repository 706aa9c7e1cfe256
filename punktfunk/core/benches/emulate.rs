//! What the link model costs a packet. The pump and the simulation pay this for every datagram.

use criterion::{Criterion, criterion_group, criterion_main};
use punktfunk_core::emulate::{LinkModel, LinkSpec};

const LINKS: [(&str, &str); 5] = [
    ("perfect", "{}"),
    (
        "independent loss",
        r#"{"delay_us":5000,"loss":{"kind":"independent","p":0.02}}"#,
    ),
    (
        "Gilbert-Elliott, duplicates, corruption",
        r#"{"delay_us":5000,"loss":{"kind":"gilbert_elliott","p":0.01,"r":0.3},"duplicate":0.01,"corrupt":0.01}"#,
    ),
    (
        "normal jitter",
        r#"{"delay_us":5000,"jitter_us":500,"jitter_distribution":"normal","jitter_reorder":true}"#,
    ),
    (
        "rate and queue",
        r#"{"rate_kbps":20000,"queue_packets":200,"delay_us":5000}"#,
    ),
];

fn offer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("offer");
    for (name, json) in LINKS {
        let spec = LinkSpec::from_json(json).expect("the specs of this file are right");
        let mut model = LinkModel::new(&spec, 7, 0).expect("as above");
        let mut now_ns = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                now_ns += 400_000;
                model.offer(now_ns, 1240)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, offer);
criterion_main!(benches);
