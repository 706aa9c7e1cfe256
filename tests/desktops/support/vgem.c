/*
 * A stand-in for a DRM node, for tests on machines that have none (LD_PRELOAD; Linux, glibc).
 *
 * KWin records its screen only where it renders by OpenGL, and takes OpenGL only from a DRM node that allocates
 * buffers. Machines of continuous integration have no such node. The kernel's module vgem would be one; this does in
 * one process what vgem does in the kernel. It is a part of the test rig: nothing of punktfunk loads it, and what
 * is rendered is rendered by Mesa's software, so that figures of speed are its own and no graphics card's.
 *
 * The node is /dev/null, which is a character device as Mesa demands. A buffer is a memory file, its handle an index
 * into a table, and a "dma-buf" another descriptor of the same memory file.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <drm.h>
#include <xf86drm.h>

#define CARD "/dev/dri/card0"
#define RENDER "/dev/dri/renderD128"
#define BUFFERS 4096
#define PITCH_BYTES 64
#define PAGE_BYTES 4096
/* mmap's offset names the buffer, above every offset that a plain file would be mapped at. */
#define HANDLE_SHIFT 32

struct buffer {
	int fd;
	ino_t file;
	unsigned references;
};

static struct buffer buffers[BUFFERS]; /* by handle; 0 is no handle */
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static int is_node(int fd)
{
	struct stat found;

	return fd >= 0 && fstat(fd, &found) == 0 && S_ISCHR(found.st_mode) && found.st_rdev == makedev(1, 3);
}

static int refuse(int reason)
{
	errno = reason;
	return -1;
}

static struct buffer *buffer_of(uint32_t handle)
{
	return handle > 0 && handle < BUFFERS && buffers[handle].references ? &buffers[handle] : NULL;
}

/* Take over the descriptor and return a handle for it, 0 when the table is full. */
static uint32_t add(int fd, ino_t file)
{
	for (uint32_t handle = 1; handle < BUFFERS; handle++) {
		if (!buffers[handle].references) {
			buffers[handle] = (struct buffer){ fd, file, 1 };
			return handle;
		}
	}
	return 0;
}

static int create(struct drm_mode_create_dumb *wanted)
{
	struct stat made;
	int fd = memfd_create("vgem", MFD_CLOEXEC);

	wanted->pitch = (wanted->width * wanted->bpp / 8 + PITCH_BYTES - 1) & ~(PITCH_BYTES - 1u);
	wanted->size = ((uint64_t)wanted->pitch * wanted->height + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1ull);
	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)wanted->size) || fstat(fd, &made)) {
		close(fd);
		return -1;
	}
	wanted->handle = add(fd, made.st_ino);
	if (!wanted->handle) {
		close(fd);
		return refuse(ENOMEM);
	}
	return 0;
}

static int release(uint32_t handle)
{
	struct buffer *held = buffer_of(handle);

	if (!held)
		return refuse(EINVAL);
	if (--held->references == 0)
		close(held->fd);
	return 0;
}

static int export(struct drm_prime_handle *wanted)
{
	struct buffer *held = buffer_of(wanted->handle);

	if (!held)
		return refuse(ENOENT);
	wanted->fd = fcntl(held->fd, F_DUPFD_CLOEXEC, 3);
	return wanted->fd < 0 ? -1 : 0;
}

static int import(struct drm_prime_handle *given)
{
	struct stat found;
	int fd;

	if (fstat(given->fd, &found))
		return -1;
	for (uint32_t handle = 1; handle < BUFFERS; handle++) {
		if (buffers[handle].references && buffers[handle].file == found.st_ino) {
			buffers[handle].references++;
			given->handle = handle;
			return 0;
		}
	}
	fd = fcntl(given->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -1;
	given->handle = add(fd, found.st_ino);
	if (!given->handle) {
		close(fd);
		return refuse(ENOMEM);
	}
	return 0;
}

static void say(char *room, size_t *length, const char *text)
{
	size_t whole = strlen(text);

	if (room && *length)
		memcpy(room, text, whole < *length ? whole : *length);
	*length = whole;
}

static int version(struct drm_version *told)
{
	told->version_major = 1;
	told->version_minor = told->version_patchlevel = 0;
	say(told->name, &told->name_len, "vgem");
	say(told->date, &told->date_len, "20120112");
	say(told->desc, &told->desc_len, "memory files of the punktfunk test rig");
	return 0;
}

static int capability(struct drm_get_cap *asked)
{
	switch (asked->capability) {
	case DRM_CAP_DUMB_BUFFER:
	case DRM_CAP_TIMESTAMP_MONOTONIC:
		asked->value = 1;
		return 0;
	case DRM_CAP_PRIME:
		asked->value = DRM_PRIME_CAP_IMPORT | DRM_PRIME_CAP_EXPORT;
		return 0;
	default:
		asked->value = 0;
		return 0;
	}
}

static int node_ioctl(unsigned long request, void *argument)
{
	switch (_IOC_NR(request)) {
	case _IOC_NR(DRM_IOCTL_VERSION):
		return version(argument);
	case _IOC_NR(DRM_IOCTL_GET_CAP):
		return capability(argument);
	case _IOC_NR(DRM_IOCTL_SET_CLIENT_CAP):
		return 0;
	case _IOC_NR(DRM_IOCTL_MODE_CREATE_DUMB):
		return create(argument);
	case _IOC_NR(DRM_IOCTL_MODE_MAP_DUMB): {
		struct drm_mode_map_dumb *wanted = argument;

		wanted->offset = (uint64_t)wanted->handle << HANDLE_SHIFT;
		return buffer_of(wanted->handle) ? 0 : refuse(ENOENT);
	}
	case _IOC_NR(DRM_IOCTL_MODE_DESTROY_DUMB):
		return release(((struct drm_mode_destroy_dumb *)argument)->handle);
	case _IOC_NR(DRM_IOCTL_GEM_CLOSE):
		return release(((struct drm_gem_close *)argument)->handle);
	case _IOC_NR(DRM_IOCTL_PRIME_HANDLE_TO_FD):
		return export(argument);
	case _IOC_NR(DRM_IOCTL_PRIME_FD_TO_HANDLE):
		return import(argument);
	default:
		return refuse(EINVAL);
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*next)(int, unsigned long, ...) = real("ioctl");
	va_list rest;
	void *argument;
	int result;

	va_start(rest, request);
	argument = va_arg(rest, void *);
	va_end(rest);
	request &= 0xffffffff; /* some callers hand it over as a signed int */
	if (_IOC_TYPE(request) == DRM_IOCTL_BASE && is_node(fd)) {
		pthread_mutex_lock(&table);
		result = node_ioctl(request, argument);
		pthread_mutex_unlock(&table);
		return result;
	}
	result = next(fd, request, argument);
	/* DMA_BUF_IOCTL_SYNC: memory files have no cache to keep in step with. */
	return result < 0 && errno == ENOTTY && _IOC_TYPE(request) == 'b' ? 0 : result;
}

static const char *place_of(const char *path)
{
	return path && (!strcmp(path, CARD) || !strcmp(path, RENDER)) ? "/dev/null" : path;
}

#define OPEN(name)                                                                                                    \
	int name(const char *path, int flags, ...)                                                                    \
	{                                                                                                             \
		int (*next)(const char *, int, ...) = real(#name);                                                    \
		mode_t mode = 0;                                                                                      \
		if (flags & (O_CREAT | O_TMPFILE)) {                                                                  \
			va_list rest;                                                                                 \
			va_start(rest, flags);                                                                        \
			mode = (mode_t)va_arg(rest, int);                                                             \
			va_end(rest);                                                                                 \
		}                                                                                                     \
		return next(place_of(path), flags, mode);                                                             \
	}
OPEN(open)
OPEN(open64)

#define MMAP(name, offset_type)                                                                                       \
	void *name(void *at, size_t length, int protection, int flags, int fd, offset_type offset)                    \
	{                                                                                                             \
		void *(*next)(void *, size_t, int, int, int, offset_type) = real(#name);                              \
		if (fd >= 0 && (offset >> HANDLE_SHIFT) && is_node(fd)) {                                             \
			struct buffer *held;                                                                          \
			int file;                                                                                     \
			pthread_mutex_lock(&table);                                                                   \
			held = buffer_of((uint32_t)(offset >> HANDLE_SHIFT));                                         \
			file = held ? held->fd : -1;                                                                  \
			pthread_mutex_unlock(&table);                                                                 \
			return next(at, length, protection, flags, file, 0);                                          \
		}                                                                                                     \
		return next(at, length, protection, flags, fd, offset);                                               \
	}
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

/* libdrm looks for devices in /sys: there is one, on the platform bus, and it is this. */

static char *nodes[DRM_NODE_MAX] = { CARD, "", RENDER };
static drmPlatformBusInfo bus = { "vgem" };
static drmDevice device = {
	.nodes = nodes,
	.available_nodes = 1 << DRM_NODE_PRIMARY,
	.bustype = DRM_BUS_PLATFORM,
	.businfo = { .platform = &bus },
};

int drmGetDevices2(uint32_t flags, drmDevicePtr found[], int room)
{
	if (found && room > 0)
		found[0] = &device;
	return 1;
}

int drmGetDevices(drmDevicePtr found[], int room)
{
	return drmGetDevices2(0, found, room);
}

int drmGetDevice2(int fd, uint32_t flags, drmDevicePtr *found)
{
	*found = &device;
	return 0;
}

int drmGetDevice(int fd, drmDevicePtr *found)
{
	return drmGetDevice2(fd, 0, found);
}

int drmGetDeviceFromDevId(dev_t id, uint32_t flags, drmDevicePtr *found)
{
	return drmGetDevice2(-1, flags, found);
}

void drmFreeDevice(drmDevicePtr *found)
{
}

void drmFreeDevices(drmDevicePtr found[], int count)
{
}

int drmDevicesEqual(drmDevicePtr one, drmDevicePtr other)
{
	return 1;
}

char *drmGetDeviceNameFromFd2(int fd)
{
	return strdup(CARD);
}

char *drmGetPrimaryDeviceNameFromFd(int fd)
{
	return strdup(CARD);
}

char *drmGetRenderDeviceNameFromFd(int fd)
{
	return strdup(CARD);
}

int drmGetNodeTypeFromFd(int fd)
{
	return DRM_NODE_PRIMARY;
}

int drmIsKMS(int fd)
{
	return 0;
}

int drmIsMaster(int fd)
{
	return 1;
}
