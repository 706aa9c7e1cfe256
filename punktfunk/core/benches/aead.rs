//! AES-128-GCM per packet: this crate's sealer, `ring` and `aws-lc-rs` in the same run.
//!
//! `cargo bench --bench aead --features aws-lc`; the decision that it led to is in
//! `docs/adr/0001-aead-backend.md`.

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use punktfunk_core::crypto::{Direction, Opener, Sealer};

const KEY: [u8; 16] = *b"0123456789abcdef";

macro_rules! library {
    ($name:ident, $library:ident) => {
        fn $name(criterion: &mut Criterion, plain_bytes: usize) {
            use $library::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
            let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &KEY).unwrap());
            let nonce = |seq: u64| {
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&seq.to_be_bytes());
                Nonce::assume_unique_for_key(nonce)
            };
            let mut group = criterion.benchmark_group(format!("{plain_bytes} bytes"));
            group.throughput(Throughput::Bytes(plain_bytes as u64));
            let mut text = vec![0x5A; plain_bytes];
            let mut seq = 0_u64;
            group.bench_function(concat!("seal/", stringify!($library)), |bencher| {
                bencher.iter(|| {
                    seq += 1;
                    key.seal_in_place_separate_tag(
                        nonce(seq),
                        Aad::from(seq.to_be_bytes()),
                        &mut text,
                    )
                    .unwrap()
                });
            });
            let mut sealed = vec![0x5A; plain_bytes];
            let tag = key
                .seal_in_place_separate_tag(nonce(1), Aad::from(1_u64.to_be_bytes()), &mut sealed)
                .unwrap();
            sealed.extend_from_slice(tag.as_ref());
            group.bench_function(concat!("open/", stringify!($library)), |bencher| {
                bencher.iter_batched_ref(
                    || sealed.clone(),
                    |packet| {
                        let plain = key
                            .open_in_place(
                                nonce(1),
                                Aad::from(1_u64.to_be_bytes()),
                                packet.as_mut_slice(),
                            )
                            .unwrap();
                        plain.len()
                    },
                    BatchSize::SmallInput,
                );
            });
            group.finish();
        }
    };
}

library!(by_ring, ring);
library!(by_aws_lc, aws_lc_rs);

fn by_this_crate(criterion: &mut Criterion, plain_bytes: usize) {
    let mut group = criterion.benchmark_group(format!("{plain_bytes} bytes"));
    group.throughput(Throughput::Bytes(plain_bytes as u64));
    let mut sealer = Sealer::new(KEY, *b"pkf1", Direction::HostToClient);
    let mut packet = vec![0x5A; plain_bytes + 24];
    group.bench_function("seal/punktfunk", |bencher| {
        bencher.iter(|| {
            sealer
                .seal_in_place(sealer.next_seq().unwrap(), &mut packet)
                .unwrap()
        });
    });
    let opener = Opener::new(KEY, *b"pkf1", Direction::HostToClient);
    group.bench_function("open/punktfunk", |bencher| {
        bencher.iter_batched_ref(
            || packet.clone(),
            |packet| opener.open_in_place(packet).unwrap().0,
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn packets(criterion: &mut Criterion) {
    for plain_bytes in [1240, 1448, 8948] {
        by_ring(criterion, plain_bytes);
        by_aws_lc(criterion, plain_bytes);
        by_this_crate(criterion, plain_bytes);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = packets
}
criterion_main!(benches);
