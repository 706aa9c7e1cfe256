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
//
// It rises only when something that was there works otherwise or is gone. What is new is a feature.
#define PUNKTFUNK_ABI_VERSION 2

// Feature: sessions that their caller drives, `punktfunk_session_open` and what goes with it.
#define PUNKTFUNK_FEATURE_DRIVEN 1

// Feature: GameStream's video, `punktfunk_gamestream_open` and `punktfunk_gamestream_start`.
#define PUNKTFUNK_FEATURE_GAMESTREAM_VIDEO 2

// Feature: GameStream's sound, `punktfunk_gamestream_audio_open` and `punktfunk_audio_*`.
#define PUNKTFUNK_FEATURE_GAMESTREAM_AUDIO 4

// Feature: ENet, the transport of GameStream's control stream, `punktfunk_enet_*`.
#define PUNKTFUNK_FEATURE_ENET 8

// User flag: the frame is a picture.
#define PUNKTFUNK_FLAG_PICTURE 1

// User flag: the frame can be decoded without another.
#define PUNKTFUNK_FLAG_KEY 4

// Bytes that sealing adds to a packet: sequence number and tag.
#define PUNKTFUNK_SEAL_BYTES 24

// Bytes of the packet header.
#define PUNKTFUNK_HEADER_BYTES 40

// Largest UDP payload that a receiver looks at.
#define PUNKTFUNK_MAX_DATAGRAM_BYTES 9216

// Event: a peer is there. `data` is its number, `from` where it is.
#define PUNKTFUNK_ENET_CONNECTED 1

// Event: a message, `payload` on `channel`.
#define PUNKTFUNK_ENET_RECEIVED 2

// Event: a peer is gone, or a connection did not come about. `data` is the peer's word, `cause` who ended it.
#define PUNKTFUNK_ENET_DISCONNECTED 3

// Cause: the peer said so.
#define PUNKTFUNK_ENET_BY_PEER 1

// Cause: it was disconnected from here, and knows.
#define PUNKTFUNK_ENET_BY_US 2

// Cause: nothing was heard of it for ten seconds.
#define PUNKTFUNK_ENET_BY_SILENCE 3

// Delivery: acknowledged and in order on its channel.
#define PUNKTFUNK_ENET_RELIABLE 0

// Delivery: lost, or in order on its channel.
#define PUNKTFUNK_ENET_UNRELIABLE 1

// Delivery: lost, or in any order.
#define PUNKTFUNK_ENET_UNSEQUENCED 2

// Outcome of a call. Later versions may have more of them, for calls that are new; all but `PUNKTFUNK_STATUS_OK` are negative.
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
  // No frame is ready, or no packet, or nothing else that was asked for.
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
  // As much waits already as there may be; fetch or try again later.
  PUNKTFUNK_STATUS_FULL = -11,
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

// One end of a stream of sound. Calls on one handle must not overlap.
typedef struct PunktfunkAudio PunktfunkAudio;

// A host of any number of peers. Calls on one handle must not overlap.
typedef struct PunktfunkEnet PunktfunkEnet;

// One end of a stream. Calls on one handle must not overlap; different handles are independent.
typedef struct PunktfunkSession PunktfunkSession;

// What both ends of a stream of GameStream sound agree on, and which of them this is. Set all of it to 0 first, then
// `struct_size` to `sizeof(PunktfunkGameStreamAudioConfig)`.
typedef struct PunktfunkGameStreamAudioConfig {
  // Bytes of this struct as the caller knows it.
  uint32_t struct_size;
  // 0 host, 1 client.
  uint32_t role;
  // Host: what an Opus packet lasts, 5 or 10 ms.
  uint32_t packet_ms;
  // Not 0: sound is encrypted with `key` and `rikeyid`.
  uint32_t encrypt;
  // AES-128 key (`rikey`); not all zero if `encrypt` is set.
  uint8_t key[16];
  // `rikeyid`, which may be negative.
  int32_t rikeyid;
} PunktfunkGameStreamAudioConfig;

// A datagram to send. `data` belongs to the handle and is valid until the next call on it.
typedef struct PunktfunkDatagram {
  // First byte.
  const uint8_t *data;
  // Bytes.
  size_t len;
} PunktfunkDatagram;

// An Opus packet in its turn. `data` belongs to the handle and is valid until the next call on it.
typedef struct PunktfunkSound {
  // First byte.
  const uint8_t *data;
  // Bytes.
  size_t len;
  // Number in the stream; it does not wrap.
  uint64_t sequence;
  // Packets that are lost between the one before and this one.
  uint64_t gap;
  // 1 where recovery packets gave it back.
  uint32_t recovered;
} PunktfunkSound;

// Counters of received sound. Set `struct_size` to `sizeof(PunktfunkAudioStats)`.
//
// `received = data + recovery + rejected + late + duplicate`.
typedef struct PunktfunkAudioStats {
  // Bytes of this struct as the caller knows it.
  uint32_t struct_size;
  // 0.
  uint32_t reserved;
  // Datagrams.
  uint64_t received;
  // Of these, Opus packets.
  uint64_t data;
  // Of these, recovery packets.
  uint64_t recovery;
  // Of these, no packets of sound, or far from every other one.
  uint64_t rejected;
  // Of these, those whose turn was over.
  uint64_t late;
  // Of these, those that had come before, or were recovered.
  uint64_t duplicate;
  // Opus packets that had their turn.
  uint64_t delivered;
  // Of these, those that recovery packets gave back.
  uint64_t recovered;
  // Opus packets that did not come.
  uint64_t lost;
  // Of these, those that came and did not decrypt.
  uint64_t undecryptable;
  // Delivered packets that nobody fetched in time.
  uint64_t unfetched;
} PunktfunkAudioStats;

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

// Packets that may be sent now: `packets` of `packet_bytes` each, one after another. They belong to the session and are valid
// until the next call on its handle.
typedef struct PunktfunkPackets {
  // First byte of the first packet.
  const uint8_t *data;
  // Bytes of each packet.
  size_t packet_bytes;
  // Packets.
  size_t packets;
} PunktfunkPackets;

// What an endpoint is made with. Set all of it to 0 first, then `struct_size` to `sizeof(PunktfunkEnetConfig)`.
typedef struct PunktfunkEnetConfig {
  // Bytes of this struct as the caller knows it.
  uint32_t struct_size;
  // Most connections, 1 to 255.
  uint32_t peers;
  // Most channels of each, 1 to 255.
  uint32_t channels;
  // Makes the numbers by which its connections are known: any, another each time.
  uint32_t seed;
} PunktfunkEnetConfig;

// Where a peer is.
typedef struct PunktfunkAddress {
  // The address in network order; one of IPv4 has the first four bytes.
  uint8_t ip[16];
  // 4 or 6.
  uint16_t family;
  // The port.
  uint16_t port;
  // Interface of a link-local address of IPv6, else 0.
  uint32_t scope;
  // Whatever the caller wants back with each datagram to this peer, such as which of its own addresses it came to.
  uint8_t path[24];
} PunktfunkAddress;

// What happened. `payload` belongs to the endpoint and is valid until the next call on its handle.
typedef struct PunktfunkEnetEvent {
  // `PUNKTFUNK_ENET_CONNECTED`, `_RECEIVED` or `_DISCONNECTED`.
  uint32_t kind;
  // Channel of a message.
  uint32_t channel;
  // Names the connection, and no other one ever.
  uint64_t peer;
  // What CONNECT or DISCONNECT carried.
  uint32_t data;
  // `PUNKTFUNK_ENET_BY_PEER`, `_BY_US` or `_BY_SILENCE`.
  uint32_t cause;
  // First byte of a message, else NULL.
  const uint8_t *payload;
  // Bytes of it.
  size_t len;
  // Where a peer is that has connected; without path.
  struct PunktfunkAddress from;
} PunktfunkEnetEvent;

// What both ends of a stream of GameStream video agree on, and which of them a session is. Set all of it to 0 first, then
// `struct_size` to `sizeof(PunktfunkGameStreamConfig)`: later versions add fields at the end, and 0 is what there was before.
typedef struct PunktfunkGameStreamConfig {
  // Bytes of this struct as the caller knows it.
  uint32_t struct_size;
  // 0 host, 1 client.
  uint32_t role;
  // 0 H.264, 1 HEVC, 2 AV1.
  uint32_t codec;
  // `x-nv-video[0].packetSize`, as the client announced it; a multiple of 16.
  uint32_t packet_size;
  // Host: recovery packets in per cent of a block's data packets, 0 to 255.
  uint32_t fec_percent;
  // Host: fewest recovery packets of a protected block (`minRequiredFecPackets`), 0 to 255.
  uint32_t min_fec;
  // Host: rate of the access units in kbit/s, which pacing stays above; 0 means 20000.
  uint32_t rate_kbps;
  // Not 0: video is encrypted with `key`.
  uint32_t encrypt;
  // AES-128 key (`rikey`); not all zero if `encrypt` is set.
  uint8_t key[16];
  // Host: the `pts_ns` that has RTP timestamp 0. A client's `pts_ns` count from there, in steps of 1/90000 s.
  uint64_t origin_ns;
} PunktfunkGameStreamConfig;

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

// What this build has beyond the first of its version: the sum of `PUNKTFUNK_FEATURE_*`. A library without this function has
// none of them.
uint64_t punktfunk_abi_features(void);

// Make one end of a stream of GameStream sound, which its caller drives.
//
// # Safety
// `config` must be NULL or point to a struct of `struct_size` bytes, `audio` NULL or writable. It is set only when
// `PUNKTFUNK_STATUS_OK` is returned.
PunktfunkStatus punktfunk_gamestream_audio_open(const struct PunktfunkGameStreamAudioConfig *config,
                                                struct PunktfunkAudio **audio);

// Free a handle of sound; NULL is ignored.
//
// # Safety
// `audio` must be NULL or a handle of this interface that was not freed before.
void punktfunk_audio_free(struct PunktfunkAudio *audio);

// Make the datagrams of the next Opus packet, which `punktfunk_audio_poll_datagram` fetches: its own, and behind every fourth
// two of recovery. What was not fetched before is dropped. All Opus packets of a stream have one length: another, or one that
// does not fit, is `PUNKTFUNK_STATUS_INVALID_ARG`, and no number is used up.
//
// # Safety
// `audio` must be NULL or a live handle; `opus` must be readable for `len` bytes.
PunktfunkStatus punktfunk_audio_submit(struct PunktfunkAudio *audio,
                                       const uint8_t *opus,
                                       size_t len);

// Fetch the next datagram to send, or `PUNKTFUNK_STATUS_NO_FRAME`.
//
// # Safety
// `audio` must be NULL or a live handle, `datagram` NULL or writable.
PunktfunkStatus punktfunk_audio_poll_datagram(struct PunktfunkAudio *audio,
                                              struct PunktfunkDatagram *datagram);

// Give a client a datagram of sound; what is in turn then is fetched with `punktfunk_audio_poll_sound`. Whatever it holds is no
// error: the counters say what became of it. One that is longer than any that clients take is rejected unread.
//
// # Safety
// `audio` must be NULL or a live handle; `datagram` must be readable for `len` bytes.
PunktfunkStatus punktfunk_audio_receive(struct PunktfunkAudio *audio,
                                        const uint8_t *datagram,
                                        size_t len);

// End the turn of everything that is still waited for, at the end of a stream.
//
// # Safety
// `audio` must be NULL or a live handle.
PunktfunkStatus punktfunk_audio_settle(struct PunktfunkAudio *audio);

// Fetch the next Opus packet in turn, or `PUNKTFUNK_STATUS_NO_FRAME`. At most 64 wait; one more drops the oldest.
//
// # Safety
// `audio` must be NULL or a live handle, `sound` NULL or writable.
PunktfunkStatus punktfunk_audio_poll_sound(struct PunktfunkAudio *audio,
                                           struct PunktfunkSound *sound);

// Read the counters of a client's sound.
//
// # Safety
// `audio` must be NULL or a live handle, `stats` NULL or a readable and writable struct of `struct_size` bytes.
PunktfunkStatus punktfunk_audio_get_stats(struct PunktfunkAudio *audio,
                                          struct PunktfunkAudioStats *stats);

// Make a session of punktfunk/1 that its caller drives, without socket, thread or clock; the role stands in `config`.
//
// # Safety
// `config` must be NULL or point to a struct of `struct_size` bytes, `session` NULL or writable. It is set only when
// `PUNKTFUNK_STATUS_OK` is returned.
PunktfunkStatus punktfunk_session_open(const struct PunktfunkConfig *config,
                                       struct PunktfunkSession **session);

// Fetch the packets that a host may send at `now_ns`, or `PUNKTFUNK_STATUS_NO_FRAME`. Call again until there are none, then
// when `punktfunk_session_next_timeout` says. They count as sent when the next call on the handle is made.
//
// # Safety
// `session` must be NULL or a live handle, `packets` NULL or writable.
PunktfunkStatus punktfunk_host_poll_packets(struct PunktfunkSession *session,
                                            uint64_t now_ns,
                                            struct PunktfunkPackets *packets);

// Give a client a datagram that came at `now_ns`. `PUNKTFUNK_STATUS_BAD_PACKET` says that it was dropped and counted; it is
// no error of the session, which goes on. Call `punktfunk_client_advance` after a batch of them.
//
// # Safety
// `session` must be NULL or a live handle; `datagram` must be readable for `len` bytes.
PunktfunkStatus punktfunk_client_receive(struct PunktfunkSession *session,
                                         const uint8_t *datagram,
                                         size_t len,
                                         uint64_t now_ns);

// Let a client release what is complete at `now_ns` and give up what waited too long; frames are fetched with
// `punktfunk_client_poll_frame` then. Call it after a batch of datagrams, and when `punktfunk_session_next_timeout` says.
//
// # Safety
// `session` must be NULL or a live handle.
PunktfunkStatus punktfunk_client_advance(struct PunktfunkSession *session,
                                         uint64_t now_ns);

// Return when a session wants to be asked again, a host for packets, a client to advance; `PUNKTFUNK_STATUS_NO_FRAME` while
// nothing waits.
//
// # Safety
// `session` must be NULL or a live handle, `at_ns` NULL or writable.
PunktfunkStatus punktfunk_session_next_timeout(struct PunktfunkSession *session,
                                               uint64_t *at_ns);

// Ask a client whether its host should send a key frame: `*wanted` is 1 once for each break of the references until one comes,
// and again every `retry_ns` without one unless that is 0. Of a session with a thread, `now_ns` is not looked at.
//
// # Safety
// `session` must be NULL or a live handle, `wanted` NULL or writable.
PunktfunkStatus punktfunk_client_take_recovery_request(struct PunktfunkSession *session,
                                                       uint64_t now_ns,
                                                       uint64_t retry_ns,
                                                       uint32_t *wanted);

// Change what a host was configured with: the rate of its access units in kbit/s, and the share of recovery packets from the
// next frame on, 0 to 255 per cent.
//
// # Safety
// `session` must be NULL or a live handle.
PunktfunkStatus punktfunk_host_set_rate(struct PunktfunkSession *session,
                                        uint32_t rate_kbps,
                                        uint32_t fec_percent);

// Make an endpoint without socket or clock. Nobody may connect to it until `punktfunk_enet_admit` says who.
//
// # Safety
// `config` must be NULL or point to a struct of `struct_size` bytes, `enet` NULL or writable. It is set only when
// `PUNKTFUNK_STATUS_OK` is returned.
PunktfunkStatus punktfunk_enet_open(const struct PunktfunkEnetConfig *config,
                                    struct PunktfunkEnet **enet);

// Free an endpoint, without a word to its peers; NULL is ignored.
//
// # Safety
// `enet` must be NULL or a handle of this interface that was not freed before.
void punktfunk_enet_free(struct PunktfunkEnet *enet);

// Let whoever connects with this number in, from the IP address of `from`, or from any where that is NULL. At most 255 numbers
// are admitted: one more is `PUNKTFUNK_STATUS_FULL`.
//
// # Safety
// `enet` must be NULL or a live handle, `from` NULL or readable.
PunktfunkStatus punktfunk_enet_admit(struct PunktfunkEnet *enet,
                                     uint32_t data,
                                     const struct PunktfunkAddress *from);

// Let nobody in with this number any more. Connections that there are stay.
//
// # Safety
// `enet` must be NULL or a live handle.
PunktfunkStatus punktfunk_enet_refuse(struct PunktfunkEnet *enet, uint32_t data);

// Begin a connection; an event says what became of it. `*peer` names it. `PUNKTFUNK_STATUS_FULL` where there is no room.
//
// # Safety
// `enet` must be NULL or a live handle, `to` NULL or readable, `peer` NULL or writable.
PunktfunkStatus punktfunk_enet_connect(struct PunktfunkEnet *enet,
                                       const struct PunktfunkAddress *to,
                                       uint32_t data,
                                       uint64_t now_ns,
                                       uint64_t *peer);

// Take a datagram. What is none of ENet, or of a stranger, is dropped and no error. `PUNKTFUNK_STATUS_FULL` while 256 events
// wait to be fetched: it is lost then, as on a network.
//
// # Safety
// `enet` must be NULL or a live handle, `datagram` readable for `len` bytes, `from` NULL or readable.
PunktfunkStatus punktfunk_enet_receive(struct PunktfunkEnet *enet,
                                       const uint8_t *datagram,
                                       size_t len,
                                       const struct PunktfunkAddress *from,
                                       uint64_t now_ns);

// Do what is due: repeat, ping, give up. Call it when `punktfunk_enet_next_timeout` says. `PUNKTFUNK_STATUS_FULL` while 256 events
// wait to be fetched.
//
// # Safety
// `enet` must be NULL or a live handle.
PunktfunkStatus punktfunk_enet_tick(struct PunktfunkEnet *enet,
                                    uint64_t now_ns);

// Return when `punktfunk_enet_tick` is due, if nothing happens before; `PUNKTFUNK_STATUS_NO_FRAME` without connections.
//
// # Safety
// `enet` must be NULL or a live handle, `at_ns` NULL or writable.
PunktfunkStatus punktfunk_enet_next_timeout(struct PunktfunkEnet *enet,
                                            uint64_t *at_ns);

// Send a message. `PUNKTFUNK_STATUS_CLOSED` where the peer is not connected, `PUNKTFUNK_STATUS_INVALID_ARG` for a message that
// does not fit a datagram, `PUNKTFUNK_STATUS_FULL` while too much waits for the peer's acknowledgement.
//
// # Safety
// `enet` must be NULL or a live handle; `payload` must be readable for `len` bytes.
PunktfunkStatus punktfunk_enet_send(struct PunktfunkEnet *enet,
                                    uint64_t peer,
                                    uint8_t channel,
                                    const uint8_t *payload,
                                    size_t len,
                                    uint32_t delivery,
                                    uint64_t now_ns);

// End a connection once all that was sent is acknowledged; an event follows. A peer that is gone is left alone.
//
// # Safety
// `enet` must be NULL or a live handle.
PunktfunkStatus punktfunk_enet_disconnect(struct PunktfunkEnet *enet,
                                          uint64_t peer,
                                          uint32_t data,
                                          uint64_t now_ns);

// End a connection now, with one word that may get lost. No event follows.
//
// # Safety
// `enet` must be NULL or a live handle.
PunktfunkStatus punktfunk_enet_abandon(struct PunktfunkEnet *enet,
                                       uint64_t peer,
                                       uint32_t data,
                                       uint64_t now_ns);

// Fetch the next datagram to send and where to, or `PUNKTFUNK_STATUS_NO_FRAME`. Do so after every other call: at most 1024 wait,
// and further ones are lost, as on a network.
//
// # Safety
// `enet` must be NULL or a live handle; `datagram` and `to` must be NULL or writable.
PunktfunkStatus punktfunk_enet_poll_datagram(struct PunktfunkEnet *enet,
                                             struct PunktfunkDatagram *datagram,
                                             struct PunktfunkAddress *to);

// Fetch what happened next, or `PUNKTFUNK_STATUS_NO_FRAME`.
//
// # Safety
// `enet` must be NULL or a live handle, `event` NULL or writable.
PunktfunkStatus punktfunk_enet_poll_event(struct PunktfunkEnet *enet,
                                          struct PunktfunkEnetEvent *event);

// Compute `recovery_shards` recovery shards of `data_shards` contiguous data shards of `shard_bytes` each.
//
// `scheme` is 0 for GF(2^8), 1 for GF(2^16). `PUNKTFUNK_STATUS_FEC` for more shards than the scheme carries,
// `PUNKTFUNK_STATUS_INVALID_ARG` where `data` and `recovery` overlap; nothing is changed then.
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
// `data_shards` are present, `PUNKTFUNK_STATUS_INVALID_ARG` if `shards` and `present` overlap; nothing is changed then.
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

// Make a session of GameStream video that its caller drives, without socket, thread or clock: see
// `punktfunk_host_poll_packets` and `punktfunk_client_receive`.
//
// # Safety
// `config` must be NULL or point to a struct of `struct_size` bytes, `session` NULL or writable. It is set only when
// `PUNKTFUNK_STATUS_OK` is returned.
PunktfunkStatus punktfunk_gamestream_open(const struct PunktfunkGameStreamConfig *config,
                                          struct PunktfunkSession **session);

// Start a session of GameStream video on a connected UDP socket, with a thread of its own. The session takes a duplicate of
// `socket`; a host's is bound to the port that its client pinged and connected to where the ping came from.
//
// # Safety
// `config` must be NULL or point to a struct of `struct_size` bytes, `session` NULL or writable. It is set only when
// `PUNKTFUNK_STATUS_OK` is returned.
PunktfunkStatus punktfunk_gamestream_start(const struct PunktfunkGameStreamConfig *config,
                                           int socket,
                                           struct PunktfunkSession **session);

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

// Seal an access unit and send its packets, or queue them where the caller fetches them. Never waits for the network: a full
// queue drops its oldest frame. `data` may be NULL if `len` is 0.
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
