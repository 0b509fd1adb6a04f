// What is below a directory, in every respect an image has to keep: run in the directory an image
// is made of, and in a guest of that image.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void show_text(const char *text) {
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte > 0x20 && byte < 0x7f && byte != '\\') putchar(byte);
        else printf("\\%02x", byte);
    }
}

// Of data only, so that a file of many GiB takes no time: at its stretches' ends and middle.
static uint64_t digest(const char *name, off_t size) {
    int fd = open(name, O_RDONLY);
    if (fd < 0) return 0;
    uint64_t sum = 1469598103934665603u;
    static unsigned char bytes[65536];
    off_t parts[] = {0, size / 2 - 32768, size - 65536};
    for (int part = 0; part < (size > 1 << 24 ? 3 : 1); part++) {
        if (parts[part] < 0) parts[part] = 0;
        if (lseek(fd, parts[part], SEEK_SET) < 0) return 0;
        ssize_t count, left = size > 1 << 24 ? 65536 : size;
        while (left > 0 && (count = read(fd, bytes, sizeof bytes)) > 0) {
            for (ssize_t i = 0; i < count; i++) sum = (sum ^ bytes[i]) * 1099511628211u;
            left -= count;
        }
    }
    close(fd);
    return sum;
}

static struct { ino_t inode; int number; } links[100];
static int known;

static int number_of(ino_t inode) {
    for (int i = 0; i < known; i++)
        if (links[i].inode == inode) return links[i].number;
    if (known < 100) links[known] = (typeof(links[0])){inode, known + 1};
    return ++known;
}

static void walk(int level) {
    struct dirent **names;
    int count = scandir(".", &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        struct stat about;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
        if (lstat(name, &about) != 0) { printf("%s: %s\n", name, strerror(errno)); continue; }
        if (S_ISSOCK(about.st_mode)) continue; // left out of images
        printf("%d ", level);
        show_text(name);
        printf(" %o %d:%d %jd.%09ld", about.st_mode, (int)(about.st_uid - geteuid()),
               (int)(about.st_gid - getegid()), (intmax_t)about.st_mtim.tv_sec, about.st_mtim.tv_nsec);
        if (names[i]->d_type != DT_UNKNOWN && names[i]->d_type != IFTODT(about.st_mode)) printf(" d_type %d", names[i]->d_type);
        if (!S_ISDIR(about.st_mode)) {
            printf(" %jd links %d", (intmax_t)about.st_size, (int)about.st_nlink);
            if (about.st_nlink > 1) printf(" file %d", number_of(about.st_ino));
        }
        if (S_ISCHR(about.st_mode) || S_ISBLK(about.st_mode)) printf(" device %d:%d", major(about.st_rdev), minor(about.st_rdev));
        if (S_ISREG(about.st_mode)) printf(" %016" PRIx64, digest(name, about.st_size));
        if (S_ISLNK(about.st_mode)) {
            char target[4097] = "";
            if (readlink(name, target, 4096) > 0) printf(" -> "), show_text(target);
        }
        putchar('\n');
        if (S_ISDIR(about.st_mode) && chdir(name) == 0) {
            walk(level + 1);
            if (chdir("..") != 0) exit(1);
        }
    }
}

// Two names are one file also after it was written to.
static void write_through(const char *one, const char *two) {
    struct stat first, second;
    int fd = open(one, O_WRONLY | O_APPEND);
    if (fd < 0 || write(fd, "more", 4) != 4 || close(fd) != 0) { perror(one); return; }
    if (stat(one, &first) != 0 || stat(two, &second) != 0) { perror(two); return; }
    printf("written: same %d, size %jd, links %d", first.st_ino == second.st_ino, (intmax_t)second.st_size, (int)second.st_nlink);
    if (unlink(one) != 0 || stat(two, &second) != 0) { perror(two); return; }
    printf(", then %d\n", (int)second.st_nlink);
}

int main(int count, char **arguments) {
    if (count < 2 || chdir(arguments[1]) != 0) { perror("directory"); return 1; }
    walk(0);
    if (count > 3) write_through(arguments[2], arguments[3]);
    return 0;
}
