/*
 * A stand-in for /dev/udmabuf, for tests on machines that have neither it nor a graphics card (LD_PRELOAD; Linux, glibc).
 *
 * gamescope shares its pictures as DMA-BUFs. Mesa's software Vulkan makes these out of memory files, by the kernel's
 * /dev/udmabuf, which machines of continuous integration often do not have. Here a "DMA-BUF" is another descriptor of
 * the memory file. It is a part of the test rig: nothing of punktfunk loads it, and gamescope's figures of speed are
 * those of software.
 *
 * The device is /dev/zero. gamescope also waits for DMA-BUFs to become readable, as they do once they are drawn; a
 * memory file cannot be waited for by epoll, so that an eventfd which is always readable is waited for in its place.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

#define DEVICE "/dev/udmabuf"
#define WAITS 512

struct wait {
	int epoll, fd, stand_in;
};

static struct wait waits[WAITS]; /* unused where stand_in is 0 */
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static int is_device(int fd)
{
	struct stat found;

	return fd >= 0 && fstat(fd, &found) == 0 && S_ISCHR(found.st_mode) && found.st_rdev == makedev(1, 5);
}

static const char *place_of(const char *path)
{
	return path && !strcmp(path, DEVICE) ? "/dev/zero" : path;
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
	if (request == UDMABUF_CREATE && is_device(fd))
		return fcntl((int)((struct udmabuf_create *)argument)->memfd, F_DUPFD_CLOEXEC, 3);
	result = next(fd, request, argument);
	/* DMA_BUF_IOCTL_SYNC: memory files have no cache to keep in step with. */
	return result < 0 && errno == ENOTTY && request == DMA_BUF_IOCTL_SYNC ? 0 : result;
}

/* Return what stands in for a descriptor in an epoll; NULL where nothing does. */
static struct wait *wait_of(int epoll, int fd)
{
	for (int i = 0; i < WAITS; i++)
		if (waits[i].stand_in && waits[i].epoll == epoll && waits[i].fd == fd)
			return &waits[i];
	return NULL;
}

static void forget(struct wait *known)
{
	close(known->stand_in); /* which takes it out of its epoll */
	known->stand_in = 0;
}

static int add(int (*next)(int, int, int, struct epoll_event *), int epoll, int fd, struct epoll_event *event)
{
	struct wait *known = wait_of(epoll, fd);
	int result;

	if (known) /* of a file that was closed since: its number is given again */
		forget(known);
	result = next(epoll, EPOLL_CTL_ADD, fd, event);
	if (result == 0 || errno != EPERM)
		return result;
	for (int i = 0; i < WAITS; i++) {
		if (!waits[i].stand_in) {
			waits[i] = (struct wait){ epoll, fd, eventfd(1, EFD_CLOEXEC) };
			return next(epoll, EPOLL_CTL_ADD, waits[i].stand_in, event);
		}
	}
	errno = ENOSPC;
	return -1;
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	int (*next)(int, int, int, struct epoll_event *) = real("epoll_ctl");
	struct wait *known;
	int result = 0;

	pthread_mutex_lock(&table);
	known = wait_of(epoll, fd);
	if (operation == EPOLL_CTL_ADD)
		result = add(next, epoll, fd, event);
	else if (!known)
		result = next(epoll, operation, fd, event);
	else if (operation == EPOLL_CTL_MOD)
		result = next(epoll, operation, known->stand_in, event);
	else
		forget(known);
	pthread_mutex_unlock(&table);
	return result;
}
