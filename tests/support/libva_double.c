/*
 * What stands in for libva and a GPU's driver, at the border of the library, in tests of the capability check.
 *
 * A "render node" is a plain file whose lines say how its driver behaves:
 *
 *     refuse WORDS          vaInitialize fails, and says WORDS by the error callback (none where there are none)
 *     vendor WORDS          what vaQueryVendorString gives
 *     point PROFILE ENTRY   the profile has that entry point
 *     broken                the driver answers no question
 *
 * Compiled twice, as libva.so.2 and as libva-drm.so.2 (the latter has vaGetDisplayDRM alone); both find the display by its
 * descriptor, which is all that libva-drm knows. Written against va/va.h of libva 2.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 64

struct display {
	int fd, points, refused, broken, profile[MOST], entry[MOST];
	char vendor[256], words[256];
	void (*error)(void *, const char *);
	void *context;
};

#ifdef DRM
void *vaGetDisplayDRM(int fd)
{
	struct display *made = calloc(1, sizeof(*made));
	made->fd = fd;
	return made;
}
#else
static void take(struct display *at, const char *line)
{
	if (!strncmp(line, "refuse", 6)) {
		at->refused = 1;
		snprintf(at->words, sizeof(at->words), "%s", line[6] ? line + 7 : "");
	} else if (!strncmp(line, "vendor ", 7)) {
		snprintf(at->vendor, sizeof(at->vendor), "%s", line + 7);
	} else if (!strncmp(line, "point ", 6) && at->points < MOST) {
		if (sscanf(line + 6, "%d %d", &at->profile[at->points], &at->entry[at->points]) == 2)
			at->points++;
	} else if (!strcmp(line, "broken")) {
		at->broken = 1;
	}
}

int vaInitialize(void *display, int *major, int *minor)
{
	struct display *at = display;
	char text[4096];
	ssize_t length = pread(at->fd, text, sizeof(text) - 1, 0);
	text[length > 0 ? length : 0] = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		take(at, line);
	*major = 1;
	*minor = 24;
	if (at->refused && at->words[0] && at->error)
		at->error(at->context, at->words);
	return at->refused ? -1 : 0;
}

int vaTerminate(void *display)
{
	free(display);
	return 0;
}

void *vaSetErrorCallback(void *display, void (*callback)(void *, const char *), void *context)
{
	((struct display *)display)->error = callback;
	((struct display *)display)->context = context;
	return NULL;
}

void *vaSetInfoCallback(void *display, void (*callback)(void *, const char *), void *context)
{
	(void)display;
	(void)context;
	if (callback)
		abort();
	return NULL;
}

const char *vaErrorStr(int status)
{
	return status ? "unknown libva error" : "success (no error)";
}

const char *vaQueryVendorString(void *display)
{
	return ((struct display *)display)->vendor;
}

int vaMaxNumProfiles(void *display)
{
	(void)display;
	return MOST;
}

int vaMaxNumEntrypoints(void *display)
{
	(void)display;
	return MOST;
}

int vaQueryConfigProfiles(void *display, int *profiles, int *count)
{
	struct display *at = display;
	for (int i = 0; i < at->points; i++)
		profiles[i] = at->profile[i];
	*count = at->points;
	return at->broken;
}

int vaQueryConfigEntrypoints(void *display, int profile, int *entries, int *count)
{
	struct display *at = display;
	*count = 0;
	for (int i = 0; i < at->points; i++)
		if (at->profile[i] == profile)
			entries[(*count)++] = at->entry[i];
	return at->broken;
}
#endif
