// Directories read in pieces: seekdir comes back to where telldir was, entries that come and go
// meanwhile do no harm, and d_type is right.
#include "test.h"
int main(void) {
    enter_dir();
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%02d", i);
        put_file(name, "");
    }
    mkdir("sub", 0755);
    symlink("f00", "sym");
    mkfifo("fifo", 0600);
    DIR *dir = opendir(".");
    NEED(dir);
    int total = 0, kinds[4] = {0};
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        total++;
        kinds[0] += entry->d_type == DT_REG;
        kinds[1] += entry->d_type == DT_DIR;
        kinds[2] += entry->d_type == DT_LNK;
        kinds[3] += entry->d_type == DT_FIFO;
    }
    printf("%d entries: %d files %d directories %d links %d fifos\n", total, kinds[0], kinds[1],
           kinds[2], kinds[3]);
    rewinddir(dir);
    for (int i = 0; i < 40; i++)
        readdir(dir);
    long where = telldir(dir);
    entry = readdir(dir);
    NEED(entry);
    char name[256];
    strcpy(name, entry->d_name);
    int rest = 1;
    while (readdir(dir))
        rest++;
    seekdir(dir, where);
    entry = readdir(dir);
    YES(entry && !strcmp(entry->d_name, name));
    R(rest);
    // Remove what was read, while reading.
    rewinddir(dir);
    int removed = 0;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] == 'f' && entry->d_name[1] != 'i')
            removed += unlink(entry->d_name) == 0;
    R(removed);
    rewinddir(dir);
    total = 0;
    while (readdir(dir))
        total++;
    R(total);
    closedir(dir);
    return 0;
}
