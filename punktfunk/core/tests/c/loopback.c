/* The C harness of punktfunk/1 section 9: four frames of 200 000 bytes over a link that loses every eighth packet.
 * Every frame must come back byte for byte and at least one shard be recovered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "punktfunk_core.h"

#define FRAMES 4
#define FRAME_BYTES 200000

static void need(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "failed: %s\n", what);
        exit(1);
    }
}

static void fill(uint8_t *data, uint32_t frame) {
    for (uint32_t i = 0; i < FRAME_BYTES; i++) {
        data[i] = (uint8_t)(131 * i + 17 * frame);
    }
}

int main(void) {
    static uint8_t sent[FRAME_BYTES];
    PunktfunkConfig config;
    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    config.phase = 1;
    config.fec_scheme = 0;
    config.fec_percent = 25;
    config.max_data_per_block = 64;
    config.shard_payload = 1024;
    config.loopback_drop_period = 8;
    PunktfunkConfig peer = config;
    peer.role = 1;

    need(sizeof(PunktfunkConfig) == 64, "size of the configuration");
    need(sizeof(PunktfunkStats) == 72, "size of the counters");
    need(punktfunk_abi_version() == PUNKTFUNK_ABI_VERSION, "version of the interface");

    PunktfunkSession *host = NULL;
    PunktfunkSession *client = NULL;
    need(punktfunk_test_loopback_pair(&config, &peer, &host, &client) == PUNKTFUNK_STATUS_OK, "pair");

    int intact = 0;
    for (uint32_t f = 0; f < FRAMES; f++) {
        PunktfunkFrame frame;
        fill(sent, f);
        need(punktfunk_host_submit_frame(host, sent, FRAME_BYTES, f, 5) == PUNKTFUNK_STATUS_OK, "submit");
        need(punktfunk_client_poll_frame(client, &frame) == PUNKTFUNK_STATUS_OK, "poll");
        need(frame.frame_index == f && frame.pts_ns == f && frame.flags == 5, "fields of the frame");
        need(frame.len == FRAME_BYTES, "length of the frame");
        intact += memcmp(frame.data, sent, FRAME_BYTES) == 0;
        need(punktfunk_client_poll_frame(client, &frame) == PUNKTFUNK_STATUS_NO_FRAME, "one frame at a time");
    }

    PunktfunkStats stats;
    need(punktfunk_get_stats(client, &stats) == PUNKTFUNK_STATUS_OK, "counters");
    printf("%d of %d frames, %llu shards recovered\n", intact, FRAMES,
           (unsigned long long)stats.fec_recovered_shards);
    need(intact == FRAMES, "every frame is intact");
    need(stats.frames_completed == FRAMES, "every frame is counted");
    need(stats.fec_recovered_shards > 0, "a shard was recovered");
    punktfunk_session_free(host);
    punktfunk_session_free(client);
    return 0;
}
