/* A GameStream host and its client in one process, over a link that loses every eighth packet of video, two of six of sound and
 * a fifth of control: both are driven by this program, which has no socket and whose time is a number. Every frame, every Opus
 * packet and every message must come back byte for byte, some of them recovered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "punktfunk_core.h"

#define FRAMES 4
#define FRAME_BYTES 400000
#define FRAME_NS 16666667
#define OPUS_PACKETS 48
#define OPUS_BYTES 120

static void need(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "failed: %s\n", what);
        exit(1);
    }
}

static void fill(uint8_t *data, size_t bytes, uint32_t number) {
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(131 * i + 17 * number);
    }
}

/* The link: send all that the host has by now, and let the client have what is not lost. */
static uint64_t carry(PunktfunkSession *host, PunktfunkSession *client, uint64_t now_ns, uint32_t *sent, uint32_t period) {
    uint64_t at_ns;
    while (punktfunk_session_next_timeout(host, &at_ns) == PUNKTFUNK_STATUS_OK) {
        PunktfunkPackets packets;
        now_ns = at_ns > now_ns ? at_ns : now_ns;
        while (punktfunk_host_poll_packets(host, now_ns, &packets) == PUNKTFUNK_STATUS_OK) {
            for (size_t i = 0; i < packets.packets; i++) {
                const uint8_t *packet = packets.data + i * packets.packet_bytes;
                if ((*sent)++ % period != 0) {
                    need(punktfunk_client_receive(client, packet, packets.packet_bytes, now_ns) == PUNKTFUNK_STATUS_OK,
                         "a packet of the host is one to the client");
                }
            }
        }
        need(punktfunk_client_advance(client, now_ns) == PUNKTFUNK_STATUS_OK, "advance");
    }
    return now_ns;
}

static void video(void) {
    static uint8_t data[FRAME_BYTES];
    PunktfunkGameStreamConfig config;
    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    config.packet_size = 1024;
    config.fec_percent = 25;
    config.min_fec = 2;
    config.encrypt = 1;
    config.origin_ns = 5000;
    memcpy(config.key, "0123456789abcdef", 16);
    PunktfunkSession *host = NULL;
    PunktfunkSession *client = NULL;
    need(punktfunk_gamestream_open(&config, &host) == PUNKTFUNK_STATUS_OK, "host");
    config.role = 1;
    need(punktfunk_gamestream_open(&config, &client) == PUNKTFUNK_STATUS_OK, "client");

    uint32_t sent = 0;
    uint64_t now_ns = 0;
    int intact = 0;
    for (uint32_t f = 0; f < FRAMES; f++) {
        PunktfunkFrame frame;
        uint32_t flags = PUNKTFUNK_FLAG_PICTURE | (f == 0 ? PUNKTFUNK_FLAG_KEY : 0);
        uint64_t pts_ns = 5000 + (uint64_t)(f + 1) * FRAME_NS;
        fill(data, sizeof data, f);
        need(punktfunk_host_submit_frame(host, data, sizeof data, pts_ns, flags) == PUNKTFUNK_STATUS_OK, "submit");
        now_ns = carry(host, client, now_ns, &sent, 8);
        need(punktfunk_client_poll_frame(client, &frame) == PUNKTFUNK_STATUS_OK, "poll");
        need(frame.frame_index == f + 1 && frame.flags == flags, "fields of the frame");
        /* RTP says 1/90000 s: the client's time may be behind by one tick. */
        need(pts_ns - 5000 - frame.pts_ns <= 11112, "time of the frame");
        need(frame.len == sizeof data, "length of the frame");
        intact += memcmp(frame.data, data, sizeof data) == 0;
        need(punktfunk_client_poll_frame(client, &frame) == PUNKTFUNK_STATUS_NO_FRAME, "one frame at a time");
    }

    /* Of the next frame every second packet is lost, more than the code gives back: the host is to be asked for a key frame. */
    uint32_t wanted = 2;
    uint64_t due_ns = 0;
    PunktfunkFrame frame;
    need(punktfunk_client_take_recovery_request(client, now_ns, 0, &wanted) == PUNKTFUNK_STATUS_OK && wanted == 0, "whole");
    need(punktfunk_host_submit_frame(host, data, 5000, 0, PUNKTFUNK_FLAG_PICTURE) == PUNKTFUNK_STATUS_OK, "submit");
    now_ns = carry(host, client, now_ns, &sent, 2);
    need(punktfunk_host_submit_frame(host, data, 5000, 0, PUNKTFUNK_FLAG_PICTURE) == PUNKTFUNK_STATUS_OK, "submit");
    sent = 1;
    now_ns = carry(host, client, now_ns, &sent, UINT32_MAX);
    need(punktfunk_client_poll_frame(client, &frame) == PUNKTFUNK_STATUS_NO_FRAME, "it waits for the one before");
    need(punktfunk_session_next_timeout(client, &due_ns) == PUNKTFUNK_STATUS_OK && due_ns > now_ns, "it does not wait for ever");
    need(punktfunk_client_advance(client, due_ns) == PUNKTFUNK_STATUS_OK, "advance");
    need(punktfunk_client_poll_frame(client, &frame) == PUNKTFUNK_STATUS_OK && frame.frame_index == FRAMES + 2, "in its turn");
    need(punktfunk_client_take_recovery_request(client, due_ns, 0, &wanted) == PUNKTFUNK_STATUS_OK && wanted == 1, "broken");
    need(punktfunk_client_receive(client, data, 1072, due_ns) == PUNKTFUNK_STATUS_BAD_PACKET, "not of this host");

    PunktfunkStats of_host;
    PunktfunkStats of_client;
    need(punktfunk_get_stats(host, &of_host) == PUNKTFUNK_STATUS_OK, "counters of the host");
    need(punktfunk_get_stats(client, &of_client) == PUNKTFUNK_STATUS_OK, "counters of the client");
    printf("video: %d of %d frames, %llu packets recovered\n", intact, FRAMES,
           (unsigned long long)of_client.fec_recovered_shards);
    need(intact == FRAMES, "every frame is intact");
    need(of_host.frames_submitted == FRAMES + 2 && of_host.packets_sent > 4 * 397, "what the host counts");
    need(of_host.bytes_sent == of_host.packets_sent * (1024 + 16 + 32), "bytes of its packets");
    need(of_client.fec_recovered_shards > 0 && of_client.packets_dropped == 1, "what the client counts");
    punktfunk_session_free(host);
    punktfunk_session_free(client);
}

static void sound(void) {
    uint8_t opus[OPUS_BYTES];
    PunktfunkGameStreamAudioConfig config;
    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    config.packet_ms = 5;
    config.encrypt = 1;
    config.rikeyid = -7;
    memcpy(config.key, "0123456789abcdef", 16);
    PunktfunkAudio *host = NULL;
    PunktfunkAudio *client = NULL;
    need(punktfunk_gamestream_audio_open(&config, &host) == PUNKTFUNK_STATUS_OK, "sound of the host");
    config.role = 1;
    need(punktfunk_gamestream_audio_open(&config, &client) == PUNKTFUNK_STATUS_OK, "sound of the client");

    int datagrams = 0;
    uint32_t heard = 0;
    for (uint32_t n = 0; n < OPUS_PACKETS; n++) {
        PunktfunkDatagram datagram;
        PunktfunkSound packet;
        fill(opus, sizeof opus, n);
        need(punktfunk_audio_submit(host, opus, sizeof opus) == PUNKTFUNK_STATUS_OK, "submit sound");
        while (punktfunk_audio_poll_datagram(host, &datagram) == PUNKTFUNK_STATUS_OK) {
            /* Of four packets and two of recovery, the second and the third are lost. */
            int place = datagrams++ % 6;
            if (place != 1 && place != 2) {
                need(punktfunk_audio_receive(client, datagram.data, datagram.len) == PUNKTFUNK_STATUS_OK, "hear");
            }
        }
        while (punktfunk_audio_poll_sound(client, &packet) == PUNKTFUNK_STATUS_OK) {
            fill(opus, sizeof opus, heard);
            need(packet.sequence == heard && packet.gap == 0, "in its turn");
            need(packet.recovered == (heard % 4 == 1 || heard % 4 == 2), "what was recovered says so");
            need(packet.len == sizeof opus && memcmp(packet.data, opus, sizeof opus) == 0, "an intact packet");
            heard++;
        }
    }
    PunktfunkAudioStats stats;
    memset(&stats, 0, sizeof stats);
    stats.struct_size = sizeof stats;
    need(punktfunk_audio_get_stats(client, &stats) == PUNKTFUNK_STATUS_OK, "counters of sound");
    printf("sound: %u of %d packets, %llu recovered\n", heard, OPUS_PACKETS, (unsigned long long)stats.recovered);
    need(heard == OPUS_PACKETS && stats.recovered == OPUS_PACKETS / 2, "every packet is heard");
    need(stats.received == stats.data + stats.recovery + stats.rejected + stats.late + stats.duplicate, "they add up");
    punktfunk_audio_free(host);
    punktfunk_audio_free(client);
}

/* Both ends of the control stream, where they are, and the link between them. */
static PunktfunkEnet *ends[2];
static PunktfunkAddress places[2] = {{{127, 0, 0, 1}, 4, 47999, 0, {1}}, {{127, 0, 0, 2}, 4, 50000, 0, {2}}};
static uint64_t clock_ns = 0;
static uint32_t dice = 1;
static int losing = 0;

/* A fifth of what is sent, without a period: a repetition would be lost for ever that keeps step with it. */
static int lost(void) {
    dice = dice * 1103515245u + 12345u;
    return losing && (dice >> 16) % 5 == 0;
}

static void pass(void) {
    for (int from = 0; from < 2; from++) {
        PunktfunkDatagram datagram;
        PunktfunkAddress to;
        while (punktfunk_enet_poll_datagram(ends[from], &datagram, &to) == PUNKTFUNK_STATUS_OK) {
            need(memcmp(&to, &places[!from], sizeof to) == 0, "it goes to the other one, and its path comes back");
            if (!lost()) {
                need(punktfunk_enet_receive(ends[!from], datagram.data, datagram.len, &places[from], clock_ns) ==
                         PUNKTFUNK_STATUS_OK,
                     "a datagram is taken");
            }
        }
    }
    clock_ns += 10000000;
    need(punktfunk_enet_tick(ends[0], clock_ns) == PUNKTFUNK_STATUS_OK, "tick of the host");
    need(punktfunk_enet_tick(ends[1], clock_ns) == PUNKTFUNK_STATUS_OK, "tick of the client");
}

/* The next event of an end, within half a minute of its time. */
static PunktfunkEnetEvent next_event(int of) {
    PunktfunkEnetEvent event;
    for (int turn = 0; punktfunk_enet_poll_event(ends[of], &event) != PUNKTFUNK_STATUS_OK; turn++) {
        need(turn < 3000, "something happens");
        pass();
    }
    return event;
}

static void control(void) {
    PunktfunkEnetConfig config = {sizeof config, 4, 8, 1};
    PunktfunkEnetEvent event;
    uint64_t peer = 0;
    uint64_t at_ns = 0;
    need(punktfunk_enet_open(&config, &ends[0]) == PUNKTFUNK_STATUS_OK, "control of the host");
    need(punktfunk_enet_open(&config, &ends[1]) == PUNKTFUNK_STATUS_OK, "control of the client");
    need(punktfunk_enet_next_timeout(ends[0], &at_ns) == PUNKTFUNK_STATUS_NO_FRAME, "nobody to wait for");

    need(punktfunk_enet_connect(ends[1], &places[0], 4711, clock_ns, &peer) == PUNKTFUNK_STATUS_OK, "connect");
    need(punktfunk_enet_next_timeout(ends[1], &at_ns) == PUNKTFUNK_STATUS_OK, "an answer to wait for");
    for (int turn = 0; turn < 100; turn++) {
        pass();
    }
    need(punktfunk_enet_poll_event(ends[0], &event) == PUNKTFUNK_STATUS_NO_FRAME, "nobody is let in unasked");
    need(punktfunk_enet_admit(ends[0], 4711, &places[1]) == PUNKTFUNK_STATUS_OK, "admit");
    event = next_event(1);
    need(event.kind == PUNKTFUNK_ENET_CONNECTED && event.peer == peer, "the client is in");
    event = next_event(0);
    need(event.kind == PUNKTFUNK_ENET_CONNECTED && event.data == 4711, "by its number");
    need(event.from.port == 50000 && memcmp(event.from.ip, places[1].ip, 16) == 0, "from its place");
    uint64_t of_host = event.peer;
    losing = 1;

    for (uint32_t n = 0; n < 20; n++) {
        uint8_t message[600];
        fill(message, sizeof message, n);
        need(punktfunk_enet_send(ends[n % 2], n % 2 ? peer : of_host, 1, message, sizeof message, PUNKTFUNK_ENET_RELIABLE,
                                 clock_ns) == PUNKTFUNK_STATUS_OK,
             "send");
        event = next_event(!(n % 2));
        need(event.kind == PUNKTFUNK_ENET_RECEIVED && event.channel == 1, "a message");
        need(event.len == sizeof message && memcmp(event.payload, message, sizeof message) == 0, "an intact one");
    }
    need(punktfunk_enet_disconnect(ends[1], peer, 7, clock_ns) == PUNKTFUNK_STATUS_OK, "leave");
    event = next_event(0);
    need(event.kind == PUNKTFUNK_ENET_DISCONNECTED && event.data == 7 && event.cause == PUNKTFUNK_ENET_BY_PEER, "it left");
    event = next_event(1);
    need(event.kind == PUNKTFUNK_ENET_DISCONNECTED && event.cause == PUNKTFUNK_ENET_BY_US, "it knows");
    need(punktfunk_enet_send(ends[1], peer, 1, NULL, 0, PUNKTFUNK_ENET_RELIABLE, clock_ns) == PUNKTFUNK_STATUS_CLOSED, "gone");
    printf("control: 20 of 20 messages\n");
    punktfunk_enet_free(ends[0]);
    punktfunk_enet_free(ends[1]);
}

int main(void) {
    uint64_t features = PUNKTFUNK_FEATURE_DRIVEN | PUNKTFUNK_FEATURE_GAMESTREAM_VIDEO | PUNKTFUNK_FEATURE_GAMESTREAM_AUDIO |
                        PUNKTFUNK_FEATURE_ENET;
    need((punktfunk_abi_features() & features) == features, "GameStream is in this build");
    video();
    sound();
    control();
    return 0;
}
