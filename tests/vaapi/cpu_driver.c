/*
 * A VA-API driver that needs no GPU: it encodes on the processor.
 *
 * It stands in for Mesa's or Intel's driver below the real libva, so that FFmpeg's VA-API encoders and PyAV run in front of
 * it as on a GPU: surfaces, upload, parameter buffers, packed headers, coded buffers. H.264 is made of uncompressed
 * macroblocks (I_PCM) behind FFmpeg's own headers: it decodes to the very picture that was given. HEVC is made by x265 and
 * AV1 by libaom, with headers of their own, at the rate that the parameter buffers ask for.
 *
 * What is wrong with it is told by CPU_DRIVER: "fails N" (vaEndPicture of picture N of a context), "decodes" (no entry point
 * that encodes), "refuses" (no context). Built by conftest.py.
 */
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <va/va.h>
#include <va/va_backend.h>
#include <va/va_enc_av1.h>
#include <va/va_enc_h264.h>
#include <va/va_enc_hevc.h>

#define MOST 4096
#define UP(value, to) (((value) + (to) - 1) / (to) * (to))

struct surface { int used, width, height, pitch, rows; uint8_t *pixels; };
struct buffer { int used, owned, type; unsigned size; uint8_t *data; VACodedBufferSegment coded; };

static struct surface surfaces[MOST];
static struct buffer buffers[MOST];
static VAProfile profiles_of_configs[MOST];
static int configs;

/* One context is enough for a test. */
static struct {
	int picture, header_type, slice_type;
	VAProfile profile;
	unsigned header_bits, slice_bits, length;
	VASurfaceID target;
	VABufferID coded;
	uint8_t slice[256], *out;
	unsigned mbs_wide, mbs_high;
	int wide, high, key, hz;
	int64_t rate, hrd;
	AVCodecContext *encoder;
} now;

static const VAProfile profiles[] = { VAProfileH264ConstrainedBaseline, VAProfileHEVCMain, VAProfileAV1Profile0 };
static const VAImageFormat nv12 = { .fourcc = VA_FOURCC_NV12, .byte_order = VA_LSB_FIRST, .bits_per_pixel = 12 };

static const char *wrong(const char *what)
{
	const char *said = getenv("CPU_DRIVER");
	size_t length = strlen(what);
	return said && !strncmp(said, what, length) ? said + length : NULL;
}

static VAStatus Terminate(VADriverContextP c) { (void)c; return VA_STATUS_SUCCESS; }

static VAStatus QueryConfigProfiles(VADriverContextP c, VAProfile *list, int *count)
{
	(void)c;
	memcpy(list, profiles, sizeof(profiles));
	*count = sizeof(profiles) / sizeof(*profiles);
	return VA_STATUS_SUCCESS;
}

static VAStatus QueryConfigEntrypoints(VADriverContextP c, VAProfile p, VAEntrypoint *list, int *count)
{
	(void)c;
	(void)p;
	list[0] = wrong("decodes") ? VAEntrypointVLD : VAEntrypointEncSlice;
	*count = 1;
	return VA_STATUS_SUCCESS;
}

static VAStatus GetConfigAttributes(VADriverContextP c, VAProfile p, VAEntrypoint e, VAConfigAttrib *list, int count)
{
	(void)c;
	(void)e;
	for (int i = 0; i < count; i++) {
		switch (list[i].type) {
		case VAConfigAttribRTFormat: list[i].value = VA_RT_FORMAT_YUV420; break;
		case VAConfigAttribRateControl: list[i].value = VA_RC_CBR | VA_RC_VBR | VA_RC_CQP; break;
		case VAConfigAttribEncMaxRefFrames: list[i].value = 1; break;
		case VAConfigAttribEncMaxSlices: list[i].value = 1; break;
		case VAConfigAttribEncPackedHeaders:
			list[i].value = VA_ENC_PACKED_HEADER_SEQUENCE | VA_ENC_PACKED_HEADER_SLICE
				| VA_ENC_PACKED_HEADER_PICTURE | VA_ENC_PACKED_HEADER_MISC;
			break;
		case VAConfigAttribEncAV1: list[i].value = p == VAProfileAV1Profile0 ? 0 : VA_ATTRIB_NOT_SUPPORTED; break;
		case VAConfigAttribEncAV1Ext1: list[i].value = p == VAProfileAV1Profile0 ? 0 : VA_ATTRIB_NOT_SUPPORTED; break;
		case VAConfigAttribEncAV1Ext2: list[i].value = p == VAProfileAV1Profile0 ? 0x4f : VA_ATTRIB_NOT_SUPPORTED; break;
		default: list[i].value = VA_ATTRIB_NOT_SUPPORTED;
		}
	}
	return VA_STATUS_SUCCESS;
}

static VAStatus CreateConfig(VADriverContextP c, VAProfile p, VAEntrypoint e, VAConfigAttrib *l, int n, VAConfigID *id)
{
	(void)c; (void)e; (void)l; (void)n;
	profiles_of_configs[configs] = p;
	*id = configs++ % MOST;
	return VA_STATUS_SUCCESS;
}

static VAStatus DestroyConfig(VADriverContextP c, VAConfigID id) { (void)c; (void)id; return VA_STATUS_SUCCESS; }

static VAStatus QueryConfigAttributes(VADriverContextP c, VAConfigID id, VAProfile *p, VAEntrypoint *e,
				      VAConfigAttrib *l, int *n)
{
	(void)c; (void)l;
	*p = profiles_of_configs[id];
	*e = VAEntrypointEncSlice;
	*n = 0;
	return VA_STATUS_SUCCESS;
}

static VAStatus CreateSurfaces2(VADriverContextP c, unsigned format, unsigned width, unsigned height,
				VASurfaceID *made, unsigned count, VASurfaceAttrib *l, unsigned n)
{
	(void)c; (void)format; (void)l; (void)n;
	for (unsigned k = 0; k < count; k++) {
		int id = 1;
		while (id < MOST && surfaces[id].used)
			id++;
		if (id == MOST)
			return VA_STATUS_ERROR_ALLOCATION_FAILED;
		struct surface *at = &surfaces[id];
		*at = (struct surface){ 1, width, height, UP(width, 64), UP(height, 16), NULL };
		at->pixels = calloc(at->pitch, at->rows * 3 / 2);
		made[k] = id;
	}
	return VA_STATUS_SUCCESS;
}

static VAStatus CreateSurfaces(VADriverContextP c, int width, int height, int format, int count, VASurfaceID *made)
{
	return CreateSurfaces2(c, format, width, height, made, count, NULL, 0);
}

static VAStatus DestroySurfaces(VADriverContextP c, VASurfaceID *list, int count)
{
	(void)c;
	for (int i = 0; i < count; i++) {
		free(surfaces[list[i]].pixels);
		surfaces[list[i]] = (struct surface){ 0 };
	}
	return VA_STATUS_SUCCESS;
}

static VAStatus QuerySurfaceAttributes(VADriverContextP c, VAConfigID id, VASurfaceAttrib *list, unsigned *count)
{
	static const struct { VASurfaceAttribType type; int value; } known[] = {
		{ VASurfaceAttribPixelFormat, VA_FOURCC_NV12 }, { VASurfaceAttribMinWidth, 16 },
		{ VASurfaceAttribMinHeight, 16 }, { VASurfaceAttribMaxWidth, 4096 }, { VASurfaceAttribMaxHeight, 4096 },
	};
	const unsigned all = sizeof(known) / sizeof(*known);
	(void)c; (void)id;
	for (unsigned i = 0; list && i < all && i < *count; i++)
		list[i] = (VASurfaceAttrib){ known[i].type, VA_SURFACE_ATTRIB_GETTABLE,
					     { VAGenericValueTypeInteger, { .i = known[i].value } } };
	*count = all;
	return VA_STATUS_SUCCESS;
}

static VAStatus CreateContext(VADriverContextP c, VAConfigID id, int width, int height, int flag,
			      VASurfaceID *l, int n, VAContextID *made)
{
	(void)c; (void)flag; (void)l; (void)n;
	if (wrong("refuses"))
		return VA_STATUS_ERROR_HW_BUSY;
	avcodec_free_context(&now.encoder);
	memset(&now, 0, sizeof(now));
	now.profile = profiles_of_configs[id];
	now.wide = width;
	now.high = height;
	*made = 1;
	return VA_STATUS_SUCCESS;
}

static VAStatus DestroyContext(VADriverContextP c, VAContextID id) { (void)c; (void)id; return VA_STATUS_SUCCESS; }

static VABufferID new_buffer(int type, unsigned size, uint8_t *data, int owned)
{
	int id = 1;
	while (id < MOST && buffers[id].used)
		id++;
	if (id == MOST)
		return VA_INVALID_ID;
	buffers[id] = (struct buffer){ .used = 1, .owned = owned, .type = type, .size = size, .data = data };
	return id;
}

static VAStatus CreateBuffer(VADriverContextP c, VAContextID x, VABufferType type, unsigned size, unsigned count,
			     void *data, VABufferID *made)
{
	(void)c; (void)x;
	uint8_t *room = calloc(count, size);
	if (data)
		memcpy(room, data, (size_t)size * count);
	*made = new_buffer(type, size * count, room, 1);
	return *made == VA_INVALID_ID ? VA_STATUS_ERROR_ALLOCATION_FAILED : VA_STATUS_SUCCESS;
}

static VAStatus BufferSetNumElements(VADriverContextP c, VABufferID id, unsigned n)
{
	(void)c; (void)id; (void)n;
	return VA_STATUS_SUCCESS;
}

static VAStatus MapBuffer(VADriverContextP c, VABufferID id, void **data)
{
	(void)c;
	struct buffer *at = &buffers[id];
	*data = at->type == VAEncCodedBufferType ? (void *)&at->coded : at->data;
	return VA_STATUS_SUCCESS;
}

static VAStatus UnmapBuffer(VADriverContextP c, VABufferID id) { (void)c; (void)id; return VA_STATUS_SUCCESS; }

static VAStatus DestroyBuffer(VADriverContextP c, VABufferID id)
{
	(void)c;
	if (buffers[id].owned)
		free(buffers[id].data);
	buffers[id] = (struct buffer){ 0 };
	return VA_STATUS_SUCCESS;
}

static VAStatus BeginPicture(VADriverContextP c, VAContextID x, VASurfaceID target)
{
	(void)c; (void)x;
	now.target = target;
	now.length = now.slice_bits = 0;
	now.coded = VA_INVALID_ID;
	now.out = calloc(1, 1 << 16);
	return VA_STATUS_SUCCESS;
}

/* Takes what FFmpeg says of one picture of H.264, whose headers are FFmpeg's. */
static void take_h264(const struct buffer *at)
{
	unsigned bytes = (now.header_bits + 7) / 8;
	switch (at->type) {
	case VAEncSequenceParameterBufferType:
		now.mbs_wide = ((VAEncSequenceParameterBufferH264 *)at->data)->picture_width_in_mbs;
		now.mbs_high = ((VAEncSequenceParameterBufferH264 *)at->data)->picture_height_in_mbs;
		break;
	case VAEncPictureParameterBufferType:
		now.coded = ((VAEncPictureParameterBufferH264 *)at->data)->coded_buf;
		break;
	case VAEncSliceParameterBufferType:
		now.slice_type = ((VAEncSliceParameterBufferH264 *)at->data)->slice_type;
		break;
	case VAEncPackedHeaderParameterBufferType:
		now.header_type = ((VAEncPackedHeaderParameterBuffer *)at->data)->type;
		now.header_bits = ((VAEncPackedHeaderParameterBuffer *)at->data)->bit_length;
		break;
	case VAEncPackedHeaderDataBufferType:
		if (now.header_type == VAEncPackedHeaderSlice && bytes <= sizeof(now.slice)) {
			memcpy(now.slice, at->data, bytes);
			now.slice_bits = now.header_bits;
		} else if (now.length + bytes < 1 << 16) {
			memcpy(now.out + now.length, at->data, bytes);
			now.length += bytes;
		}
		break;
	default:
		break;
	}
}

/* Takes of HEVC and AV1 what their encoders are told: where the picture goes, whether it is a key frame, the rate. */
static void take_other(const struct buffer *at)
{
	const VAEncMiscParameterBuffer *misc = (const VAEncMiscParameterBuffer *)at->data;
	if (at->type == VAEncPictureParameterBufferType && now.profile == VAProfileHEVCMain) {
		const VAEncPictureParameterBufferHEVC *picture = (const void *)at->data;
		now.coded = picture->coded_buf;
		now.key = picture->pic_fields.bits.idr_pic_flag;
	} else if (at->type == VAEncPictureParameterBufferType) {
		const VAEncPictureParameterBufferAV1 *picture = (const void *)at->data;
		now.coded = picture->coded_buf;
		now.key = picture->picture_flags.bits.frame_type == 0;
	} else if (at->type == VAEncMiscParameterBufferType && misc->type == VAEncMiscParameterTypeRateControl) {
		now.rate = ((const VAEncMiscParameterRateControl *)misc->data)->bits_per_second;
	} else if (at->type == VAEncMiscParameterBufferType && misc->type == VAEncMiscParameterTypeHRD) {
		now.hrd = ((const VAEncMiscParameterHRD *)misc->data)->buffer_size;
	} else if (at->type == VAEncMiscParameterBufferType && misc->type == VAEncMiscParameterTypeFrameRate) {
		now.hz = ((const VAEncMiscParameterFrameRate *)misc->data)->framerate & 0xffff;
	}
}

static VAStatus RenderPicture(VADriverContextP c, VAContextID x, VABufferID *list, int count)
{
	(void)c; (void)x;
	for (int i = 0; i < count; i++)
		(now.profile == VAProfileH264ConstrainedBaseline ? take_h264 : take_other)(&buffers[list[i]]);
	return VA_STATUS_SUCCESS;
}

static AVCodecContext *opened(void)
{
	int hevc = now.profile == VAProfileHEVCMain;
	char parameters[256];
	AVCodecContext *made = avcodec_alloc_context3(avcodec_find_encoder_by_name(hevc ? "libx265" : "libaom-av1"));
	made->width = now.wide;
	made->height = now.high;
	made->pix_fmt = AV_PIX_FMT_YUV420P;
	made->time_base = (AVRational){ 1, now.hz ? now.hz : 60 };
	made->framerate = (AVRational){ now.hz ? now.hz : 60, 1 };
	made->bit_rate = now.rate;
	made->max_b_frames = 0;
	made->gop_size = 1 << 20;
	made->thread_count = 1;
	if (hevc) {
		snprintf(parameters, sizeof(parameters),
			 "keyint=-1:scenecut=0:open-gop=0:repeat-headers=1:info=0:frame-threads=1:pools=1:log-level=none"
			 ":vbv-maxrate=%d:vbv-bufsize=%d", (int)(now.rate / 1000), (int)(now.hrd / 1000));
		av_opt_set(made->priv_data, "preset", "ultrafast", 0);
		av_opt_set(made->priv_data, "tune", "zerolatency", 0);
		av_opt_set(made->priv_data, "forced-idr", "1", 0);
		av_opt_set(made->priv_data, "x265-params", parameters, 0);
	} else {
		av_opt_set(made->priv_data, "usage", "realtime", 0);
		av_opt_set(made->priv_data, "cpu-used", "8", 0);
		av_opt_set(made->priv_data, "lag-in-frames", "0", 0);
	}
	if (avcodec_open2(made, made->codec, NULL))
		avcodec_free_context(&made);
	return made;
}

/* Encodes a surface by a library; returns the length, 0 for a failure. */
static unsigned encode_by_library(const struct surface *from, struct buffer *to)
{
	const uint8_t *chroma = from->pixels + from->pitch * from->rows;
	AVFrame *frame = av_frame_alloc();
	AVPacket *packet = av_packet_alloc();
	unsigned length = 0;
	if (!now.encoder && !(now.encoder = opened()))
		abort();
	frame->format = AV_PIX_FMT_YUV420P;
	frame->width = now.wide;
	frame->height = now.high;
	if (av_frame_get_buffer(frame, 0))
		abort();
	for (int row = 0; row < now.high; row++)
		memcpy(frame->data[0] + row * frame->linesize[0], from->pixels + row * from->pitch, now.wide);
	for (int row = 0; row < now.high / 2; row++)
		for (int column = 0; column < now.wide; column++)
			frame->data[1 + column % 2][row * frame->linesize[1 + column % 2] + column / 2] =
				chroma[row * from->pitch + column];
	frame->pts = now.picture;
	frame->pict_type = now.key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
	if (!avcodec_send_frame(now.encoder, frame) && !avcodec_receive_packet(now.encoder, packet)
	    && (unsigned)packet->size <= to->size) {
		length = packet->size;
		memcpy(to->data, packet->data, length);
	}
	av_packet_free(&packet);
	av_frame_free(&frame);
	return length;
}

/* Writes bits behind a slice header, whose emulation prevention is made already. */
struct bits { uint8_t *to; unsigned length, zeros; int byte, filled; };

static void put_byte(struct bits *at, uint8_t byte)
{
	if (at->zeros >= 2 && byte <= 3) {
		at->to[at->length++] = 3;
		at->zeros = 0;
	}
	at->to[at->length++] = byte;
	at->zeros = byte ? 0 : at->zeros + 1;
}

static void put(struct bits *at, unsigned value, int count)
{
	while (count--) {
		at->byte = at->byte << 1 | (value >> count & 1);
		if (++at->filled == 8) {
			put_byte(at, at->byte);
			at->byte = at->filled = 0;
		}
	}
}

static void put_ue(struct bits *at, unsigned value)
{
	int width = 31 - __builtin_clz(value + 1);
	put(at, 0, width);
	put(at, value + 1, width + 1);
}

static void align(struct bits *at)
{
	while (at->filled)
		put(at, 0, 1);
}

static void encode(struct bits *at, const struct surface *from)
{
	const uint8_t *chroma = from->pixels + from->pitch * from->rows;
	int predicted = now.slice_type % 5 == 0;
	for (unsigned mb = 0; mb < now.mbs_wide * now.mbs_high; mb++) {
		unsigned left = mb % now.mbs_wide * 16, top = mb / now.mbs_wide * 16;
		if (predicted)
			put_ue(at, 0); /* mb_skip_run */
		put_ue(at, predicted ? 30 : 25); /* I_PCM */
		align(at);
		for (unsigned row = 0; row < 16; row++)
			for (unsigned column = 0; column < 16; column++)
				put_byte(at, from->pixels[(top + row) * from->pitch + left + column]);
		for (unsigned plane = 0; plane < 2; plane++)
			for (unsigned row = 0; row < 8; row++)
				for (unsigned column = 0; column < 8; column++)
					put_byte(at, chroma[(top / 2 + row) * from->pitch + left + 2 * column + plane]);
	}
	put(at, 1, 1);
	align(at);
}

static VAStatus EndPicture(VADriverContextP c, VAContextID x)
{
	(void)c; (void)x;
	const char *at = wrong("fails ");
	uint8_t *headers = now.out;
	int number = now.picture++;
	now.out = NULL;
	int pcm = now.profile == VAProfileH264ConstrainedBaseline;
	if ((at && atoi(at) == number) || now.coded == VA_INVALID_ID || (pcm && !now.slice_bits)) {
		free(headers);
		return VA_STATUS_ERROR_ENCODING_ERROR;
	}
	struct buffer *coded = &buffers[now.coded];
	if (!pcm) {
		unsigned length = encode_by_library(&surfaces[now.target], coded);
		free(headers);
		coded->coded = (VACodedBufferSegment){ .size = length, .buf = coded->data };
		return length ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_ENCODING_ERROR;
	}
	struct bits bits = { coded->data, 0, 0, 0, 0 };
	memcpy(coded->data, headers, now.length);
	free(headers);
	memcpy(coded->data + now.length, now.slice, now.slice_bits / 8);
	bits.length = now.length + now.slice_bits / 8;
	while (bits.zeros < 2 && bits.zeros < bits.length && !coded->data[bits.length - 1 - bits.zeros])
		bits.zeros++;
	bits.filled = now.slice_bits % 8;
	bits.byte = bits.filled ? now.slice[now.slice_bits / 8] >> (8 - bits.filled) : 0;
	encode(&bits, &surfaces[now.target]);
	if (bits.length > coded->size)
		abort();
	coded->coded = (VACodedBufferSegment){ .size = bits.length, .buf = coded->data };
	return VA_STATUS_SUCCESS;
}

static VAStatus SyncSurface(VADriverContextP c, VASurfaceID s) { (void)c; (void)s; return VA_STATUS_SUCCESS; }

static VAStatus SyncBuffer(VADriverContextP c, VABufferID id, uint64_t limit)
{
	(void)c; (void)limit;
	return id == VA_INVALID_ID ? VA_STATUS_ERROR_INVALID_BUFFER : VA_STATUS_SUCCESS;
}

static VAStatus QuerySurfaceStatus(VADriverContextP c, VASurfaceID s, VASurfaceStatus *status)
{
	(void)c; (void)s;
	*status = VASurfaceReady;
	return VA_STATUS_SUCCESS;
}

static VAStatus QueryImageFormats(VADriverContextP c, VAImageFormat *list, int *count)
{
	(void)c;
	list[0] = nv12;
	*count = 1;
	return VA_STATUS_SUCCESS;
}

static VAStatus DeriveImage(VADriverContextP c, VASurfaceID s, VAImage *image)
{
	(void)c;
	struct surface *at = &surfaces[s];
	unsigned luma = at->pitch * at->rows;
	*image = (VAImage){ .image_id = s, .format = nv12, .width = at->width, .height = at->height,
			    .data_size = luma * 3 / 2, .num_planes = 2, .pitches = { at->pitch, at->pitch },
			    .offsets = { 0, luma }, .buf = new_buffer(VAImageBufferType, luma * 3 / 2, at->pixels, 0) };
	return image->buf == VA_INVALID_ID ? VA_STATUS_ERROR_ALLOCATION_FAILED : VA_STATUS_SUCCESS;
}

static VAStatus DestroyImage(VADriverContextP c, VAImageID id)
{
	(void)c;
	for (int i = 1; i < MOST; i++)
		if (buffers[i].used && !buffers[i].owned && buffers[i].data == surfaces[id].pixels)
			buffers[i] = (struct buffer){ 0 };
	return VA_STATUS_SUCCESS;
}

/* What libva wants to be there, and nothing here calls. */
static VAStatus Unimplemented(void) { return VA_STATUS_ERROR_UNIMPLEMENTED; }

VAStatus __vaDriverInit_1_0(VADriverContextP c)
{
	struct VADriverVTable *t = c->vtable;
	c->version_major = 1;
	c->version_minor = 0;
	c->max_profiles = 8;
	c->max_entrypoints = 4;
	c->max_attributes = 64;
	c->max_image_formats = 1;
	c->max_subpic_formats = 1;
	c->max_display_attributes = 1;
	c->str_vendor = "punktfunk's test driver (on the processor)";
	for (void **slot = (void **)t; slot < (void **)&t->vaGetSurfaceAttributes; slot++)
		*slot = (void *)Unimplemented;
#define HAS(name) t->va##name = name
	HAS(Terminate); HAS(QueryConfigProfiles); HAS(QueryConfigEntrypoints); HAS(GetConfigAttributes);
	HAS(CreateConfig); HAS(DestroyConfig); HAS(QueryConfigAttributes); HAS(CreateSurfaces); HAS(CreateSurfaces2);
	HAS(DestroySurfaces); HAS(QuerySurfaceAttributes); HAS(CreateContext); HAS(DestroyContext); HAS(CreateBuffer);
	HAS(BufferSetNumElements); HAS(MapBuffer); HAS(UnmapBuffer); HAS(DestroyBuffer); HAS(BeginPicture);
	HAS(RenderPicture); HAS(EndPicture); HAS(SyncSurface); HAS(SyncBuffer); HAS(QuerySurfaceStatus);
	HAS(QueryImageFormats); HAS(DeriveImage); HAS(DestroyImage);
	return VA_STATUS_SUCCESS;
}
