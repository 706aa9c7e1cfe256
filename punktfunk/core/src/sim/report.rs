//! What a simulation found: ledger, records, digest.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::spec::SimSpec;
use crate::emulate::LinkModel;
use crate::session::{ClientSession, HostSession};
use crate::stats::{ClientRecord, HostRecord, NULL};

/// Released frames by comparison with what was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameCounts {
    /// Byte-equal.
    pub intact: u64,
    /// Anything else; a promise is broken when there is one.
    pub corrupt: u64,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct SimOutcome {
    /// `{"host", "client", "link", "frames", "balances"}`; every balance is 0 unless something is unaccounted for.
    pub ledger_json: String,
    /// One row per submitted frame, little-endian 64-bit columns by name; null is -1.
    pub columns: BTreeMap<String, Vec<u8>>,
    /// SHA-256 of the ledger and of every column in name order, hexadecimal.
    pub digest: String,
}

pub(super) fn close(
    spec: &SimSpec,
    host: &HostSession,
    client: &mut ClientSession,
    link: &LinkModel,
    frames: FrameCounts,
) -> SimOutcome {
    let host_stats: BTreeMap<_, _> = host.shared().stats.entries().into_iter().collect();
    let client_stats = client.stats();
    let rejections = *client.rejections();
    let wire = link.counters();
    let c = |n: u64| n as i64;
    let h = |name: &str| host_stats.get(name).copied().unwrap_or(0) as i64;
    // Frames that the host dropped from its queue never came, so the client has them among the unrecoverable.
    let balances = json!({
        "host_packets": h("packets_sealed") - h("packets_sent") - h("packets_socket_dropped")
            - h("packets_queue_dropped") - h("queue_packets"),
        "device": h("packets_sent") - c(wire.link_in),
        "link": c(wire.link_in + wire.duplicated) - c(wire.dropped_total() + wire.delivered + wire.in_flight()),
        "receive": c(wire.delivered) - c(wire.checksum_dropped) - c(client_stats.packets_received),
        "client_packets": c(client_stats.packets_received) - c(client_stats.packets_used)
            - c(client_stats.packets_late) - c(client_stats.packets_duplicate) - c(rejections.total()),
        "data_shards": c(client_stats.data_shards_missing) - c(client_stats.data_shards_recovered)
            - c(client_stats.data_shards_unrecoverable),
        "frames": h("frames_submitted") - c(client_stats.frames_complete)
            - c(client_stats.frames_unrecoverable) - c(client_stats.frames_expired),
        "decodable": c(client_stats.frames_complete) - c(client_stats.frames_decodable)
            - c(client_stats.frames_undecodable),
        "memory": c(client_stats.memory_bytes),
    });
    let mut client_map: Map<String, Value> = client_stats
        .entries()
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.into()))
        .collect();
    client_map.extend(rejections.entries().map(|(k, v)| (k, v.into())));
    let ledger = json!({
        "host": host_stats,
        "client": client_map,
        "link": wire.pairs().into_iter().collect::<BTreeMap<_, _>>(),
        "frames": {
            "submitted": host.shared().stats.frames_submitted.load(Relaxed),
            "intact": frames.intact,
            "corrupt": frames.corrupt,
        },
        "balances": balances,
    });
    let ledger_json = ledger.to_string();
    let columns = if spec.records {
        join(&host.shared().take_records(), &client.take_records())
    } else {
        BTreeMap::new()
    };
    let mut sha = Sha256::new();
    sha.update(&ledger_json);
    for (name, bytes) in &columns {
        sha.update(name);
        sha.update(bytes);
    }
    let digest = sha.finalize().iter().map(|b| format!("{b:02x}")).collect();
    SimOutcome {
        ledger_json,
        columns,
        digest,
    }
}

/// Both sides' records by frame. Where both have a column (pts, sizes) the host's is taken, which is never null; the
/// client's `status` keeps its name and the host's becomes `host_status`.
fn join(host: &[HostRecord], client: &[ClientRecord]) -> BTreeMap<String, Vec<u8>> {
    let mut host: Vec<HostRecord> = host.to_vec();
    host.sort_unstable_by_key(|r| r.index);
    let by_index: BTreeMap<i64, &ClientRecord> = client.iter().map(|r| (r.index, r)).collect();
    let nothing = ClientRecord {
        status: NULL,
        ..ClientRecord::EMPTY
    };
    let client: Vec<ClientRecord> = host
        .iter()
        .map(|h| **by_index.get(&h.index).unwrap_or(&&nothing))
        .collect();
    let mut columns: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let bytes = |values: Vec<i64>| values.into_iter().flat_map(i64::to_le_bytes).collect();
    for (name, values) in ClientRecord::columns(&client) {
        columns.insert(name.to_owned(), bytes(values));
    }
    for (name, values) in HostRecord::columns(&host) {
        let name = if name == "status" {
            "host_status"
        } else {
            name
        };
        columns.insert(name.to_owned(), bytes(values));
    }
    columns
}
