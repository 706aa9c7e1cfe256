/* The C interface of the punktfunk core.
 *
 * Generated from src/abi by the test `the_committed_header_is_the_generated_one`; do not edit. To renew it:
 * PUNKTFUNK_RENEW_HEADER=1 cargo test -p punktfunk-core --test abi
 */

#ifndef PUNKTFUNK_CORE_H
#define PUNKTFUNK_CORE_H

#include <stdint.h>
#include <stddef.h>

// Version of the C ABI; peers compare it in the Hello (punktfunk/1 section 2.1).
#define PUNKTFUNK_ABI_VERSION 2

// User flag: the frame is a picture.
#define PUNKTFUNK_FLAG_PICTURE 1

// User flag: the frame can be decoded without another.
#define PUNKTFUNK_FLAG_KEY 4

// Bytes that sealing adds to a packet: sequence number and tag.
#define PUNKTFUNK_SEAL_BYTES 24

// Bytes of the packet header.
#define PUNKTFUNK_HEADER_BYTES 40

// Largest UDP payload that a receiver looks at.
#define PUNKTFUNK_MAX_DATAGRAM_BYTES 2048

// Outcome of a call.
enum PunktfunkStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done.
  PUNKTFUNK_STATUS_OK = 0,
  // An argument is out of range, or the handle has the other role.
  PUNKTFUNK_STATUS_INVALID_ARG = -1,
  // The code refused the geometry, or too few shards are present.
  PUNKTFUNK_STATUS_FEC = -2,
  // Sealing failed.
  PUNKTFUNK_STATUS_CRYPTO = -3,
  // A packet was malformed.
  PUNKTFUNK_STATUS_BAD_PACKET = -4,
  // No frame is ready.
  PUNKTFUNK_STATUS_NO_FRAME = -5,
  // This build cannot do it.
  PUNKTFUNK_STATUS_UNSUPPORTED = -6,
  // A socket could not be set up.
  PUNKTFUNK_STATUS_IO = -7,
  // A required pointer is NULL.
  PUNKTFUNK_STATUS_NULL_POINTER = -8,
  // Time ran out.
  PUNKTFUNK_STATUS_TIMEOUT = -9,
  // The session has ended.
  PUNKTFUNK_STATUS_CLOSED = -10,
  // A defect in the core; the handle must not be used any more, only freed.
  PUNKTFUNK_STATUS_PANIC = -99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum PunktfunkStatus PunktfunkStatus;
#else
typedef int32_t PunktfunkStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// One end of a stream. Calls on one handle must not overlap; different handles are independent.
typedef struct PunktfunkSession PunktfunkSession;

// Stream parameters. Set `struct_size` to `sizeof(PunktfunkConfig)`; a larger struct of a later version is fine.
typedef struct PunktfunkConfig {
  // Bytes of this struct as the caller knows it.
  uint32_t struct_size;
  // 0 host, 1 client.
  uint32_t role;
  // Protocol phase, 1 or 2; both put the same packets on the wire.
  uint32_t phase;
  // 0 GF(2^8), 1 GF(2^16).
  uint32_t fec_scheme;
  // Recovery shards in per cent of data shards, 0 to 255.
  uint32_t fec_percent;
  // Most data shards of one block, 1 to 65535.
  uint32_t max_data_per_block;
  // Payload bytes of every packet, even.
  uint32_t shard_payload;
  // Not 0: seal packets with `key`.
  uint32_t encrypt;
  // AES-128 key; not all zero if `encrypt` is set.
  uint8_t key[16];
  // Base salt of the nonces.
  uint8_t salt[4];
  // Loopback pair only: lose every packet whose number is a multiple of this; 0 loses none.
  uint32_t loopback_drop_period;
  // Longest access unit; 0 means 64 MiB, the most there is.
  uint64_t max_frame_bytes;
} PunktfunkConfig;

// An access unit. `data` belongs to the session and is valid until its next poll.
typedef struct PunktfunkFrame {
  // First byte.
  const uint8_t *data;
  // Bytes.
  size_t len;
  // Frame number.
  uint32_t frame_index;
  // Capture time as the host gave it, ns.
  uint64_t pts_ns;
  // User flags.
  uint32_t flags;
} PunktfunkFrame;

// Counters of a session since its start.
typedef struct PunktfunkStats {
  // Access units that were submitted.
  uint64_t frames_submitted;
  // Access units that arrived whole.
  uint64_t frames_completed;
  // Frames that were given up, or dropped from the sender's queue.
  uint64_t frames_dropped;
  // Packets that were sent.
  uint64_t packets_sent;
  // Packets that arrived.
  uint64_t packets_received;
  // Packets that were rejected or came too late.
  uint64_t packets_dropped;
  // Data shards that FEC rebuilt.
  uint64_t fec_recovered_shards;
  // Bytes that were sent, without IP and UDP headers.
  uint64_t bytes_sent;
  // Bytes that arrived, likewise.
  uint64_t bytes_received;
} PunktfunkStats;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Version of this interface.
uint32_t punktfunk_abi_version(void);

// Compute `recovery_shards` recovery shards of `data_shards` contiguous data shards of `shard_bytes` each.
//
// `scheme` is 0 for GF(2^8), 1 for GF(2^16). `PUNKTFUNK_STATUS_FEC` for more shards than the scheme carries.
//
// # Safety
// `data` must be readable for `data_shards * shard_bytes` bytes and `recovery` writable for `recovery_shards *
// shard_bytes`; they must not overlap.
PunktfunkStatus punktfunk_fec_encode(uint32_t scheme,
                                     size_t data_shards,
                                     size_t recovery_shards,
                                     size_t shard_bytes,
                                     const uint8_t *data,
                                     uint8_t *recovery);

// Rebuild the missing data shards of a block in place.
//
// `shards` holds all data and then all recovery shards, `present` one byte for each, 0 for a shard that did not
// arrive. Bytes of `present` that stand for rebuilt data shards become 1. `PUNKTFUNK_STATUS_FEC` if fewer than
// `data_shards` are present; nothing is changed then.
//
// # Safety
// `shards` must be writable for `(data_shards + recovery_shards) * shard_bytes` bytes and `present` for
// `data_shards + recovery_shards`; they must not overlap.
PunktfunkStatus punktfunk_fec_decode(uint32_t scheme,
                                     size_t data_shards,
                                     size_t recovery_shards,
                                     size_t shard_bytes,
                                     uint8_t *shards,
                                     uint8_t *present);

// Start a session over UDP between two "ip:port" addresses; the role stands in `config`. NULL if an argument is
// wrong or the socket cannot be had.
//
// # Safety
// `config` must be NULL or point to a struct of `struct_size` bytes; the addresses must be NULL or NUL-terminated.
struct PunktfunkSession *punktfunk_session_new(const struct PunktfunkConfig *config,
                                               const char *local,
                                               const char *peer);

// Make a host and a client that are joined in this process, without sockets or threads, for tests. Packets are lost
// by the host configuration's `loopback_drop_period`.
//
// # Safety
// The configurations must be NULL or point to structs of `struct_size` bytes; `host` and `client` must be NULL or
// writable. They are set only when `PUNKTFUNK_STATUS_OK` is returned.
PunktfunkStatus punktfunk_test_loopback_pair(const struct PunktfunkConfig *host_config,
                                             const struct PunktfunkConfig *client_config,
                                             struct PunktfunkSession **host,
                                             struct PunktfunkSession **client);

// End a session and free its handle; NULL is ignored.
//
// # Safety
// `session` must be NULL or a handle of this interface that was not freed before.
void punktfunk_session_free(struct PunktfunkSession *session);

// Seal an access unit and send its packets. Never waits for the network. `data` may be NULL if `len` is 0.
//
// # Safety
// `session` must be NULL or a live handle; `data` must be readable for `len` bytes.
PunktfunkStatus punktfunk_host_submit_frame(struct PunktfunkSession *session,
                                            const uint8_t *data,
                                            size_t len,
                                            uint64_t pts_ns,
                                            uint32_t flags);

// Fetch the next access unit in order, or `PUNKTFUNK_STATUS_NO_FRAME`. Does not wait. The frame's data is valid
// until the next poll on this handle.
//
// # Safety
// `session` must be NULL or a live handle, `frame` NULL or writable.
PunktfunkStatus punktfunk_client_poll_frame(struct PunktfunkSession *session,
                                            struct PunktfunkFrame *frame);

// Read a session's counters; those of the other role are 0.
//
// # Safety
// `session` must be NULL or a live handle, `stats` NULL or writable.
PunktfunkStatus punktfunk_get_stats(struct PunktfunkSession *session, struct PunktfunkStats *stats);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PUNKTFUNK_CORE_H */
