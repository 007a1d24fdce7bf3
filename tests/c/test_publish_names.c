/* SPDX-License-Identifier: MIT */
/* test_publish_names.c -- which files are ours: names that nearly are, each that differs in one byte or is cut short.
 *
 * A pattern of regex.h, which the code does not use, says what a name is. */
#define _GNU_SOURCE
#include "scratch.h"
#include "tap.h"

#include "publish/file.h"
#include "publish/history.h"
#include "publish/publication.h"

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <unistd.h>

static const char replacements[] = "0159.TZagz-_~\xff";

typedef bool judge_name(const char *name);

/* Judges the name, each beginning of it, and each name with one byte changed, doubled or left out. */
static bool each_variant(const char *name, judge_name *judge)
{
    size_t length = strlen(name);
    char variant[300];
    bool right = judge(name);
    for (size_t at = 0; at < length && right; at++) {
        memcpy(variant, name, at);
        variant[at] = '\0';
        right = judge(variant);
        strcpy(variant + at, name + at + 1);
        right = right && judge(variant);
        variant[at] = name[at];
        strcpy(variant + at + 1, name + at);
        right = right && judge(variant);
        for (const char *replacement = replacements; *replacement && right; replacement++) {
            strcpy(variant, name);
            variant[at] = *replacement;
            right = judge(variant);
        }
    }
    return right;
}

/* ---- history ---- */

static regex_t history;

/* A name has the form, and its date exists: then it is the one that its time and process make, but for zeros in front
 * of the process. */
static bool judge_history(const char *name)
{
    int64_t time_ms, pid;
    char made[MPROF_HISTORY_NAME];
    bool form = regexec(&history, name, 0, NULL, 0) == 0;
    bool parsed = mprof_history_parse(name, &time_ms, &pid);
    if (!parsed) {
        int month = form ? (name[4] - '0') * 10 + name[5] - '0' : 0;
        int day = form ? (name[6] - '0') * 10 + name[7] - '0' : 0;
        int hour = form ? (name[9] - '0') * 10 + name[10] - '0' : 0;
        bool exists = form && strncmp(name, "1970", 4) >= 0 && month >= 1 && month <= 12 && day >= 1 && day <= 28 &&
                      hour < 24 && name[11] < '6' && name[13] < '6';
        return check(!exists, "%s is not parsed", name);
    }
    if (!check(form, "%s is parsed", name) || !check(mprof_history_name(time_ms, pid, made), "%s has no name", name))
        return false;
    const char *number = name + 21;
    while (number[0] == '0' && number[1] != '.')
        number++;
    return check(strncmp(made, name, 21) == 0 && strcmp(made + 21, number) == 0, "%s is %s", name, made);
}

static void test_history(void)
{
    static const char *const names[] = {
        "20240229T235959.999Z.4711.pb.gz",       "19700101T000000.000Z.1.pb.gz",
        "99991231T101112.013Z.2147483647.pb.gz", "20230228T000000.001Z.42.pb.gz",
        "20241031T222324.025Z.9999999999.pb.gz", "21000301T050607.089Z.7.pb.gz",
    };
    bool right =
        regcomp(&history, "^[0-9]{8}T[0-9]{6}\\.[0-9]{3}Z\\.[0-9]{1,10}\\.pb\\.gz$", REG_EXTENDED | REG_NOSUB) == 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        right = check(each_variant(names[i], judge_history), "%s", names[i]) && right;
    regfree(&history);
    ok(right, "names of history files and their neighbours");
    char name[MPROF_HISTORY_NAME];
    ok(!mprof_history_name(-1, 1, name) && !mprof_history_name(INT64_MAX, 1, name),
       "no name before 1970, none after 9999");
}

/* ---- temporary files ---- */

static char directory[256];
static regex_t temporary;

static bool matches_all(const void *context, const char *name, size_t length)
{
    (void)context;
    return name && length > 0;
}

/* A file goes if its name has the form and the process in it is gone. No process has a number above 4,194,304 (Linux),
 * so that those of the names and of their variants, which are larger, cannot come to life between two looks. */
static bool judge_temporary(const char *name)
{
    char path[700];
    regmatch_t groups[3];
    bool form = regexec(&temporary, name, 3, groups, 0) == 0;
    long long pid = form ? strtoll(name + groups[2].rm_so, NULL, 10) : 0;
    bool goes = form && pid > 0 && pid <= INT32_MAX && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = *name && strcmp(name, ".") != 0 ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return true;
    close(fd);
    mprof_file_sweep(directory, matches_all, NULL);
    bool gone = access(path, F_OK) != 0;
    unlink(path);
    return check(gone == goes, "%s: %s", name, gone ? "gone" : "stays");
}

static void test_temporary(void)
{
    char name[200];
    bool right = regcomp(&temporary, "^\\.(.+)\\.([0-9]{1,10})\\.[0-9a-f]{16}\\.tmp$", REG_EXTENDED) == 0;
    ok(right && each_variant(".heap.pb.gz.2100000000.0123456789abcdef.tmp", judge_temporary),
       "temporary files of a dead process, and their neighbours");
    snprintf(name, sizeof name, ".h.%ld.fedcba9876543210.tmp", (long)getpid());
    ok(judge_temporary(name), "and of a living one");
    ok(judge_temporary(".heap.4294967297.0123456789abcdef.tmp") && judge_temporary(".heap.0.0123456789abcdef.tmp") &&
           judge_temporary(".heap.99999999999.0123456789abcdef.tmp"),
       "numbers that no process has");
    regfree(&temporary);
}

/* ---- paths ---- */

static void test_lengths(void)
{
    static char target[MPROF_FILE_PATH + 8];
    static struct mprof_publication publication;
    char path[MPROF_FILE_PATH];
    memset(target, 'd', sizeof target - 1);
    target[0] = '/';
    struct mprof_publication_options options = {.target = target};
    is_int(mprof_publication_begin(&publication, &options), ENAMETOOLONG, "a target that is too long");
    mprof_publication_end(&publication);
    target[MPROF_FILE_PATH - 1] = '\0';
    ok(!mprof_publication_path(target, 1, path), "no room for a process in the name");
    options.child = true;
    is_int(mprof_publication_begin(&publication, &options), ENAMETOOLONG, "the same in a child");
    mprof_publication_end(&publication);
    options.child = false;
    is_int(mprof_publication_begin(&publication, &options), 0, "the longest target");
    mprof_publication_adopt(&publication, 1);
    is_str(publication.path, "", "a forked child has no file then, and not its parent's");
    mprof_publication_end(&publication);
    options = (struct mprof_publication_options){.target = "/tmp/x", .history = target};
    is_int(mprof_publication_begin(&publication, &options), 0, "the longest history directory");
    mprof_publication_end(&publication);
}

int main(void)
{
    scratch_directory(directory, "names");
    test_history();
    test_temporary();
    test_lengths();
    rmdir(directory);
    return done();
}
