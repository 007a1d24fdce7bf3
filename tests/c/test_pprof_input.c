/* SPDX-License-Identifier: MIT */
/* test_pprof_input.c -- profiles that we did not write: Go's, odd, broken, and made to hurt.
 *
 * Files are assembled from a text that names each field by its number:
 *
 *     6"text"      field 6, bytes          1:5     field 1, varint (may be negative)
 *     2{ ... }     field 2, a message      1[3 4]  field 1, packed varints
 *     !0a          this very byte */
#include "tap.h"

#include "base/os.h"
#include "core/snapshot.h"
#include "pprof/decode.h"
#include "pprof/encode.h"
#include "pprof/wire.h"

#include <ctype.h>

/* ---- the assembler ---- */

static uint64_t number(const char **at)
{
    char *end;
    uint64_t value = **at == '-' ? (uint64_t)strtoll(*at, &end, 10) : strtoull(*at, &end, 10);
    if (end == *at)
        bail("number expected: %.20s", *at);
    *at = end;
    return value;
}

static void assemble_items(struct mprof_out *out, const char **at, char close)
{
    for (;;) {
        while (isspace((unsigned char)**at))
            ++*at;
        if (**at == close) {
            *at += close != 0;
            return;
        }
        if (**at == '!') {
            char hex[3] = {(*at)[1], (*at)[2], 0};
            unsigned char byte = (unsigned char)strtoul(hex, NULL, 16);
            mprof_out_raw(out, &byte, 1);
            *at += 3;
            continue;
        }
        uint32_t field = (uint32_t)number(at);
        char kind = *(*at)++;
        if (kind == ':') {
            mprof_out_varint(out, (uint64_t)field << 3);
            mprof_out_varint(out, number(at));
            continue;
        }
        size_t mark = mprof_out_begin(out, field);
        if (kind == '{') {
            assemble_items(out, at, '}');
        } else if (kind == '[') {
            for (; **at != ']'; *at += **at == ' ')
                mprof_out_varint(out, number(at));
            ++*at;
        } else if (kind == '"') {
            const char *quote = strchr(*at, '"');
            mprof_out_raw(out, *at, (size_t)(quote - *at));
            *at = quote + 1;
        } else {
            bail("one of : { [ \" expected: %.20s", *at - 1);
        }
        mprof_out_end(out, mark);
    }
}

struct input {
    struct mprof_arena arena;
    struct mprof_out out;
};

static void begin(struct input *input)
{
    mprof_arena_init(&input->arena, 0);
    input->out = (struct mprof_out){.arena = &input->arena};
}

static void append(struct input *input, const char *text)
{
    assemble_items(&input->out, &text, 0);
    if (input->out.failed)
        bail("no memory for a file");
}

static void end(struct input *input)
{
    mprof_arena_drop(&input->arena);
}

static int read_text(const char *text, struct mprof_snapshot **snapshot, struct mprof_decode_error *error)
{
    struct input input;
    begin(&input);
    append(&input, text);
    int code = mprof_pprof_decode(input.out.bytes, input.out.length, snapshot, error);
    end(&input);
    return code;
}

static struct mprof_snapshot *must_read(const char *text)
{
    struct mprof_snapshot *snapshot;
    struct mprof_decode_error error;
    if (read_text(text, &snapshot, &error) < 0)
        bail("cannot read: %s", error.text);
    return snapshot;
}

/* Strings 0 to 6, two columns, function 1, location 1. */
#define STRINGS "6\"\" 6\"inuse_objects\" 6\"count\" 6\"inuse_space\" 6\"bytes\" 6\"f\" 6\"a.py\" "
#define TYPES "1{1:1 2:2} 1{1:3 2:4} "
#define CODE "5{1:1 2:5 4:6 5:3} 4{1:1 4{1:1 2:9}} "
#define PERIOD "11{1:3 2:4} 12:4096 "

/* ---- comparing ---- */

/* "outer:line inner:line" */
static const char *path(const struct mprof_snapshot *snapshot, uint32_t stack)
{
    static char text[400];
    text[0] = 0;
    for (uint32_t node = mprof_snapshot_stacks(snapshot)[stack].node; node != 0;) {
        const struct mprof_node *it = &mprof_snapshot_nodes(snapshot)[node];
        const struct mprof_function *function = &mprof_snapshot_functions(snapshot)[it->function];
        size_t name_length, file_length;
        const char *name = mprof_snapshot_string(snapshot, function->name, &name_length);
        const char *file = mprof_snapshot_string(snapshot, function->filename, &file_length);
        char rest[400];
        memcpy(rest, text, sizeof rest);
        int length =
            snprintf(text, sizeof text, "%.*s@%.*s:%u", (int)name_length, name, (int)file_length, file, it->line);
        snprintf(text + length, sizeof text - (size_t)length, "%s%s", *rest ? " " : "", rest);
        node = it->parent;
    }
    return text;
}

static struct mprof_block block_of(const struct mprof_snapshot *snapshot, size_t index)
{
    struct mprof_block block = {0};
    if (index < mprof_snapshot_block_count(snapshot))
        mprof_snapshot_block(snapshot, index, &block);
    return block;
}

/* ---- what can be read ---- */

static void test_known_bytes(void)
{
    /* Two blocks of 8 bytes and one of 24 in f, line 9 of a.py; 5 blocks of 40 bytes ever; taken at time 5. */
    static const char want[] = "1{1:4 2:2} 1{1:5 2:1} 1{1:6 2:2} 1{1:7 2:1} 1{1:8 2:2} 1{1:9 2:1} "
                               "9:5 11{1:10 2:1} 12:1 "
                               "2{1[1] 2[0 0 5 40 0 0] 3{1:11 3:5 4:2} 3{1:12 3:40 4:1}} "
                               "2{1[1] 2[0 0 0 0 2 16] 3{1:13 3:8 4:1}} "
                               "2{1[1] 2[0 0 0 0 1 24] 3{1:13 3:24 4:1}} "
                               "3{1:1 5:14 7:1 8:1 9:1} 4{1:1 2:1 4{1:1 2:9}} 5{1:1 2:15 4:16 5:3} 13:17 "
                               "6\"\" 6\"bytes\" 6\"count\" 6\"<unknown>\" 6\"peak_objects\" 6\"peak_space\" "
                               "6\"alloc_objects\" 6\"alloc_space\" 6\"inuse_objects\" 6\"inuse_space\" 6\"space\" "
                               "6\"alloc_samples\" 6\"alloc_seen\" 6\"bytes\" 6\"prog\" 6\"f\" 6\"a.py\" "
                               "6\"mprofile: sample_rate=1\"";
    struct mprof_builder *builder = mprof_builder_new();
    struct mprof_function function = {.firstlineno = 3};
    struct mprof_node node = {.line = 9};
    struct mprof_stack stack = {.node = 0};
    struct mprof_block block = {.size = 8, .samples = 1, .blocks = 1, .bytes = 8, .rate = 1};
    struct mprof_meta meta = {.sample_rate = 1.0, .time_ns = 5};
    mprof_builder_string(builder, "f", 1, &function.name);
    mprof_builder_string(builder, "a.py", 4, &function.filename);
    mprof_builder_function(builder, &function, &node.function);
    mprof_builder_node(builder, &node, &stack.node);
    mprof_figures_add_samples(&stack.alloc, 8, 1.0, 5);
    mprof_builder_stack(builder, &stack, &block.stack);
    mprof_builder_block(builder, &block);
    mprof_builder_block(builder, &block);
    block.size = 24;
    block.bytes = 24;
    mprof_builder_block(builder, &block);
    struct mprof_snapshot *snapshot = mprof_builder_finish(builder, &meta);
    struct mprof_encode_options options = {.binary = "prog", .binary_length = 4};
    struct mprof_arena arena;
    struct input input;
    unsigned char *bytes;
    size_t length;
    mprof_arena_init(&arena, 0);
    begin(&input);
    append(&input, want);
    if (mprof_pprof_encode(snapshot, &options, &arena, &bytes, &length) < 0)
        bail("no memory to encode");
    is_uint(length, input.out.length, "a known snapshot has a known length");
    ok(length == input.out.length && memcmp(bytes, input.out.bytes, length) == 0, "and known bytes");
    ok(memcmp(bytes, "\x0a\x04\x08\x04\x10\x02", 6) == 0, "which begin with peak_objects, count");
    end(&input);
    mprof_arena_drop(&arena);
    mprof_snapshot_decref(snapshot);
}

/* A label `age` counts in seconds; in any other unit it is somebody else's. */
static void test_age(void)
{
    static const struct {
        const char *label;
        int64_t birth_ns;
    } cases[] = {
        {"3{1:7 3:60 4:8}", INT64_C(1699999940000000000)},
        {"3{1:7 3:37 4:8}", INT64_C(1699999963000000000)},
        {"3{1:7 3:60 4:9}", 0},
        {"3{1:7 3:-60 4:9}", 0},
        {"3{1:7 3:60}", 0},
        {"3{1:7 3:0 4:8}", 0},
        {"3{1:7 3:9223372036854775807 4:8}", 0},
        {"", 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        struct mprof_block block;
        snprintf(text, sizeof text, STRINGS "6\"age\" 6\"seconds\" 6\"minutes\" " TYPES CODE "2{1[1] 2[1 8] %s} %s",
                 cases[i].label, "9:1700000000000000000");
        struct mprof_snapshot *s = must_read(text);
        mprof_snapshot_block(s, 0, &block);
        is_int(block.birth_ns, cases[i].birth_ns, "birth of a block with the label %s", cases[i].label);
        mprof_snapshot_decref(s);
    }
}

static void test_go(void)
{
    /* Strings last, parts in an odd order, sparse ids, inlining, unpacked values, unknown fields. */
    struct mprof_snapshot *s =
        must_read("1{1:1 2:2} 1{1:3 2:4} 1{1:5 2:2} 1{1:6 2:4} "
                  "2{1[7 9223372036854775808] 2[1000 16000 655 10485] 3{1:4 3:16}} "
                  "2{1:7 2:1 2:2048 1:9 2:1 2:2048 3{1:4 3:2 4:11}} "
                  "2{2[0 0 3 1200]} "
                  "2{1[9] 2[5 5000 0 0]} "
                  "3{1:1 2:4194304 5:12} "
                  "4{1:7 2:1 4{1:5 2:12} 4{1:4 2:30}} 4{1:9223372036854775808 4{1:4 2:8}} 4{1:9 2:1 3:4660} "
                  "5{1:4 2:7 3:7 4:8 5:3} 5{1:5 3:9 4:8} "
                  "6\"\" 6\"alloc_objects\" 6\"count\" 6\"alloc_space\" 6\"bytes\" 6\"inuse_objects\" 6\"inuse_space\" "
                  "6\"run\" 6\"m.go\" 6\"inlined\" 6\"space\" 6\"kilobytes\" 6\"bin\" "
                  "9:17 11{1:10 2:4} 12:524288 14:6 13:7 99:1 98\"x\" !f9 !1f !01 !02 !03 !04 !05 !06 !07 !08");
    is_uint(mprof_snapshot_stack_count(s), 4, "Go: four stacks");
    is_str(path(s, 0), "run@m.go:8 run@m.go:30 inlined@m.go:12", "Go: leaf first, the first line is the innermost");
    is_str(path(s, 1), "0x1234@bin:0 run@m.go:30 inlined@m.go:12", "Go: what has no name is named by its address");
    is_str(path(s, 2), "", "Go: a sample without location has no frames");
    is_uint(block_of(s, 0).size, 16, "Go: the size of a block is its label");
    is_uint(block_of(s, 0).samples, 1, "Go: values too small for one sample are kept as one");
    is_double(block_of(s, 0).bytes, 10485.0, "Go: and as they stand");
    is_uint(block_of(s, 1).size, 2048, "Go: a label in kilobytes");
    is_uint(block_of(s, 2).size, 400, "Go: without a label the mean is the size");
    is_double(block_of(s, 2).blocks, 3.0, "Go: and values stand as they are");
    is_double(mprof_snapshot_stacks(s)[3].alloc.bytes, 5000.0, "Go: what was freed is in alloc_space");
    is_double(mprof_snapshot_stacks(s)[3].inuse.bytes, 0.0, "Go: and not in use");
    is_double(mprof_snapshot_stacks(s)[3].peak.bytes, 0.0, "Go: it knows no peak");
    ok(mprof_snapshot_stacks(s)[3].alloc.bytes_var > 0.0, "Go: a variance is inferred");
    is_double(mprof_snapshot_meta(s)->sample_rate, 524288.0, "Go: the period is the rate");
    is_int(mprof_snapshot_meta(s)->time_ns, 17, "Go: time");
    is_uint(mprof_snapshot_comment_count(s), 1, "Go: comments are kept");
    mprof_snapshot_decref(s);
}

static void test_inference(void)
{
    /* 3 samples of 100 bytes at 4096 stand for 124.39 blocks, 12438.7 bytes. */
    static const struct {
        const char *values;
        uint64_t samples;
        bool scaled; /* to what the samples give */
    } cases[] = {
        {"[124 12439]", 3, true},  {"[125 12438]", 3, true},     {"[124 12437]", 3, false}, {"[126 12439]", 3, false},
        {"[120 12000]", 3, false}, {"[1 100]", 1, false},        {"[0 12439]", 1, false},   {"[124 0]", 3, false},
        {"[41 4146]", 1, true},    {"[4146 414620]", 100, true},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400];
        snprintf(text, sizeof text, STRINGS TYPES CODE PERIOD "2{1[1] 2%s 3{1:4 3:100}}", cases[i].values);
        struct mprof_snapshot *s = must_read(text);
        struct mprof_figures figures = {0};
        struct mprof_block block = block_of(s, 0);
        mprof_figures_add_samples(&figures, 100, 4096.0, block.samples);
        is_uint(block.samples, cases[i].samples, "samples behind %s", cases[i].values);
        bool scaled = !(block.bytes < figures.bytes) && !(block.bytes > figures.bytes);
        ok(scaled == cases[i].scaled, "values %s %s", cases[i].values, cases[i].scaled ? "are its" : "stand");
        mprof_snapshot_decref(s);
    }
    struct mprof_snapshot *s =
        must_read(STRINGS TYPES CODE PERIOD "2{1[1] 2[9223372036854775807 9223372036854775807]}");
    is_double(block_of(s, 0).bytes, 0x1p63, "the largest value is read");
    is_uint(block_of(s, 0).size, 1, "and has a mean size");
    mprof_snapshot_decref(s);

    s = must_read(STRINGS TYPES CODE "2{1[1] 2[3 301] 3{1:4 3:100}}");
    is_uint(block_of(s, 0).samples, 3, "without a period every block was recorded");
    is_double(block_of(s, 0).bytes, 301.0, "and values stand as they are");
    mprof_snapshot_decref(s);
    s = must_read(STRINGS TYPES CODE "11{1:3 2:2} 12:4096 2{1[1] 2[3 301]}");
    is_double(block_of(s, 0).rate, 1.0, "a period of something else is no rate");
    mprof_snapshot_decref(s);
}

static void test_columns(void)
{
    struct mprof_snapshot *s =
        must_read("6\"\" 6\"objects\" 6\"count\" 6\"space\" 6\"kB\" 1{1:1 2:2} 1{1:3 2:4} 2{2[3 2]}");
    is_double(block_of(s, 0).bytes, 2048.0, "objects and space are what is in use; kB are 1024 bytes");
    mprof_snapshot_decref(s);
    s = must_read("6\"\" 6\"inuse_space\" 6\"x\" 6\"space\" 1{1:2} 1{1:3} 1{1:1} 2{2[7 8 9]}");
    is_double(block_of(s, 0).bytes, 9.0, "space is not in use beside inuse_space; no unit is bytes; unknown columns");
    is_double(block_of(s, 0).blocks, 0.0, "a column that is missing is zero");
    mprof_snapshot_decref(s);
    s = must_read("6\"\" 6\"inuse_space\" 1{1:1} 1{1:1} 2{2[7 8]}");
    is_double(block_of(s, 0).bytes, 7.0, "of two columns of one name the first counts");
    mprof_snapshot_decref(s);
    s = must_read(STRINGS TYPES CODE "6\"<unknown>\" 5{1:2 2:7 4:7} 4{1:2 4{1:2}} 2{1[2] 2[1 8]} 2{1[2 1] 2[1 8]}");
    is_str(path(s, 0), "", "<unknown> alone is no frame");
    is_str(path(s, 1), "f@a.py:9 <unknown>@<unknown>:0", "<unknown> above another frame is one");
    mprof_snapshot_decref(s);
    s = must_read(STRINGS TYPES "5{1:1 2:5 5:-1} 4{1:1 4{1:1 2:99999999999}} 2{1[1] 2[1 8]}");
    is_str(path(s, 0), "f@:4294967295", "line numbers are clamped");
    mprof_snapshot_decref(s);
    s = must_read(STRINGS TYPES "6\"mprofile: drops=12\" 6\"mprofile: drops=x\" 6\"mprofile: peak_ns=-4\" "
                                "6\"mprofile: sample_rate=2.25\" 6\"mprofile: max_frames=4294967296\" 13[7 8 9 10 11]");
    is_uint(mprof_snapshot_meta(s)->drops, 12, "meta in a comment");
    is_int(mprof_snapshot_meta(s)->peak_ns, -4, "a negative time in a comment");
    is_double(mprof_snapshot_meta(s)->sample_rate, 2.25, "a rate with a fraction in a comment");
    is_uint(mprof_snapshot_comment_count(s), 2, "what cannot be meta stays a comment");
    mprof_snapshot_decref(s);
}

/* ---- what cannot be read ---- */

static void test_errors(void)
{
    static const struct {
        const char *file;
        const char *text;
    } cases[] = {
        {"", "not a heap profile: sample types are none; inuse_space or alloc_space is needed at byte 0"},
        {"6\"\" 6\"samples\" 6\"cpu\n\" 1{1:1} 1{1:2}", "sample types are samples, cpu?; inuse_space or"},
        {"1{1:1}", "type: string index 1 out of range (0 strings) at byte 2"},
        {STRINGS TYPES "5{1:1 2:17}", "name of a function: string index 17 out of range (7 strings) at byte 69"},
        {STRINGS TYPES "5{1:1 4:-1}", "file name of a function: string index -1 out of range (7 strings)"},
        {STRINGS TYPES "13:7", "comment: string index 7 out of range (7 strings)"},
        {STRINGS TYPES "13[1 7]", "comment: string index 7 out of range (7 strings)"},
        {STRINGS TYPES CODE "2{1[1] 2[1 8] 3{1:9 3:1}}", "key of a label: string index 9 out of range (7 strings)"},
        {"6\"x\" " TYPES, "string 0 is not empty at byte 0"},
        {STRINGS "1{1:1 2:2} 1{1:3 2:5}", "unit \"f\" of inuse_space is not one of bytes"},
        {STRINGS TYPES CODE "2{1[1 2] 2[1 8]}", "location id 2 is not defined"},
        {STRINGS TYPES CODE "2{1:0 2[1 8]}", "location id 0 is not defined"},
        {STRINGS TYPES "4{1:1 4{1:3 2:9}}", "function id 3 is not defined"},
        {STRINGS TYPES "4{1:1 2:3}", "mapping id 3 is not defined"},
        {STRINGS TYPES CODE CODE, "function id 1 is defined twice"},
        {STRINGS TYPES CODE "4{1:1}", "location id 1 is defined twice"},
        {STRINGS TYPES "3{1:4} 3{1:4}", "mapping id 4 is defined twice"},
        {STRINGS TYPES "5{2:5}", "function id 0 is not valid"},
        {STRINGS TYPES "4{3:5}", "location id 0 is not valid"},
        {STRINGS TYPES "3{5:5}", "mapping id 0 is not valid"},
        {STRINGS TYPES CODE "2{1[1] 2[1]}", "sample has 1 values, the profile has 2 sample types"},
        {STRINGS TYPES CODE "2{1[1] 2[1 2 3]}", "sample has 3 values, the profile has 2 sample types"},
        {STRINGS TYPES CODE "2{1[1]}", "sample has 0 values, the profile has 2 sample types"},
        {STRINGS TYPES CODE "2{1[1] 2[1 -5]}",
         "negative value -5 of inuse_space (a difference of two profiles cannot be read as a heap)"},
        {STRINGS TYPES CODE "2{1[1] 2[1 8] 3{1:4 3:-2}}", "label bytes is -2, must be 0 to 9223372036854775807"},
        {STRINGS TYPES CODE "6\"domain\" 2{1[1] 2[1 8] 3{1:7 3:4294967296}}",
         "label domain is 4294967296, must be 0 to 4294967295"},
        {STRINGS TYPES CODE "6\"TB\" 2{1[1] 2[1 8] 3{1:4 3:9223372036854775807 4:7}}", "must be below 2^63"},
        {"1:5", "sample type has wire type 0, must be 2 at byte 0"},
        {STRINGS TYPES "12\"abc\"", "period has wire type 2, must be 0"},
        {STRINGS TYPES "11:1", "period type has wire type 0, must be 2"},
        {STRINGS TYPES "4{1:1 4:1}", "line of a location has wire type 0, must be 2"},
        {STRINGS TYPES CODE "2{1[1] 2[1 8] 3:1}", "label of a sample has wire type 0, must be 2"},
        {STRINGS TYPES CODE "2{2[1 8] !0d !01 !00 !00 !00}", "location of a sample has wire type 5, must be 2"},
        {"!0a", "message ends in the middle of a field at byte 0"},
        {"!0a !05 !08", "length of a field goes past the end of its message at byte 0"},
        {"!0a !ff !ff !ff !ff !ff !ff !ff !ff !ff !01", "length of a field goes past the end of its message"},
        {STRINGS "1{!0a !7f !08}", "length of a field goes past the end of its message"},
        {"!08 !80 !80 !80 !80 !80 !80 !80 !80 !80 !02", "varint of more than 64 bits"},
        {"!08 !80 !80 !80 !80 !80 !80 !80 !80 !80 !80 !01", "varint of more than 64 bits"},
        {STRINGS TYPES CODE "2{2\"\x81\"}", "message ends in the middle of a field"},
        {"!0b !0c", "wire type is not 0, 1, 2 or 5 at byte 0"},
        {"!02 !00", "field number is not between 1 and 536870911"},
        {"!80 !80 !80 !80 !10 !00", "field number is not between 1 and 536870911"},
        {"!39 !00 !00", "message ends in the middle of a field"},
        {"!1f !8b !08 !00", "wire type is not 0, 1, 2 or 5"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mprof_snapshot *s = NULL;
        struct mprof_decode_error error;
        int code = read_text(cases[i].file, &s, &error);
        if (!ok(code == -1 && !error.memory && strstr(error.text, cases[i].text), "error: %.60s", cases[i].text))
            diag("%s", code < 0 ? error.text : "was read");
        mprof_snapshot_decref(s);
    }
    struct mprof_snapshot *s;
    struct mprof_decode_error error;
    is_int(mprof_pprof_decode(NULL, 0, &s, &error), -1, "no bytes at all");
}

/* Not a byte of a file may be missing or wrong without an answer; the sanitizers watch. */
static void test_damage(void)
{
    struct input file;
    struct mprof_decode_error error;
    struct mprof_snapshot *read;
    begin(&file);
    append(&file, STRINGS TYPES CODE PERIOD
           "9:5 6\"domain\" 6\"rate\" 6\"total_frames\" 6\"note\" 13:10 3{1:1 5:6 7:1} "
           "5{1:2 2:6 3:5 4:6 5:30} 4{1:2 2:1 4{1:2 2:31} 4{1:1 2:4}} 4{1:300 2:1 3:4096} 77\"later\" "
           "2{1[1 2] 2[0 0] 3{1:9 3:40 4:2}} 2{1[1 2] 2[124 12439] 3{1:4 3:100 4:4}} "
           "2{1[1 2 300] 2[7 70] 3{1:4 3:10} 3{1:7 3:5} 3{1:8 3:1}} 2{1:2 1:1 2:1 2:4096 3{1:4 3:4 4:2}}");
    unsigned char *bytes = file.out.bytes;
    size_t size = file.out.length;
    unsigned refused = 0, accepted = 0;
    bool fine = true;
    for (size_t length = 0; length <= size; length++) {
        unsigned char *copy = malloc(length + 1); /* so that reading past the end is seen: the last byte is not ours */
        memcpy(copy + 1, bytes, length);
        if (mprof_pprof_decode(copy + 1, length, &read, &error) == 0) {
            mprof_snapshot_decref(read);
            accepted++;
        } else {
            fine = fine && check(!error.memory && strstr(error.text, " at byte ") && error.offset <= length,
                                 "prefix of %zu bytes: \"%s\"", length, error.text);
            refused++;
        }
        free(copy);
    }
    ok(fine && refused > size / 2, "prefixes: %u refused, %u read", refused, accepted);

    static const unsigned char masks[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff, 0x7f};
    refused = accepted = 0;
    for (size_t at = 0; at < size; at++) {
        for (unsigned m = 0; m < sizeof masks; m++) {
            bytes[at] ^= masks[m];
            if (mprof_pprof_decode(bytes, size, &read, &error) == 0) {
                struct mprof_arena arena; /* what was accepted can also be written */
                unsigned char *again;
                size_t length;
                mprof_arena_init(&arena, 0);
                fine = fine && mprof_pprof_encode(read, NULL, &arena, &again, &length) == 0;
                mprof_arena_drop(&arena);
                mprof_snapshot_decref(read);
                accepted++;
            } else {
                fine = fine && check(!error.memory && error.offset <= size, "byte %zu: \"%s\"", at, error.text);
                refused++;
            }
            bytes[at] ^= masks[m];
        }
    }
    ok(fine && refused > 100 && accepted > 100, "wrong bytes: %u refused, %u read", refused, accepted);
    end(&file);
}

/* ---- made to hurt: little input, much work ---- */

/* Decodes, says how long it took, and gives the error or "". */
static const char *attack(const struct input *input, const char *what)
{
    static struct mprof_decode_error error;
    struct mprof_snapshot *s;
    int64_t start = mprof_os_monotonic_ns();
    int code = mprof_pprof_decode(input->out.bytes, input->out.length, &s, &error);
    double seconds = (double)(mprof_os_monotonic_ns() - start) * 1e-9;
    size_t memory = code == 0 ? mprof_snapshot_memory(s) : 0;
    diag("%s: %zu bytes, %.0f ms, %zu bytes of snapshot", what, input->out.length, seconds * 1e3, memory);
    if (code == 0)
        mprof_snapshot_decref(s);
    ok(code < 0 || memory <= MPROF_DECODE_CONSTANT + MPROF_DECODE_FACTOR * input->out.length, "%s: memory is bounded",
       what);
    return code < 0 ? error.text : "";
}

static void test_hostile(void)
{
    enum { MANY = 100000 };
    struct input input;
    char text[160];

    begin(&input); /* 10^5 lines in a location, named 10^5 times: 10^10 frames */
    append(&input, STRINGS TYPES CODE);
    size_t mark = mprof_out_begin(&input.out, 4);
    append(&input, "1:2");
    for (unsigned i = 0; i < MANY; i++)
        append(&input, "4{1:1 2:9}");
    mprof_out_end(&input.out, mark);
    mark = mprof_out_begin(&input.out, 2);
    append(&input, "2[1 8]");
    for (unsigned i = 0; i < MANY; i++)
        append(&input, "1:2");
    mprof_out_end(&input.out, mark);
    ok(strstr(attack(&input, "lines times locations"), "samples have too many frames for the size of the profile"),
       "lines times locations: refused");
    end(&input);

    begin(&input); /* one stack of 10^6 frames is only deep */
    append(&input, STRINGS TYPES CODE);
    mark = mprof_out_begin(&input.out, 2);
    append(&input, "2[1 8]");
    for (unsigned i = 0; i < 10 * MANY; i++)
        append(&input, "1:1");
    mprof_out_end(&input.out, mark);
    is_str(attack(&input, "a deep stack"), "", "a deep stack: read");
    end(&input);

    begin(&input); /* ids in an arithmetic progression, and far apart */
    append(&input, STRINGS TYPES CODE);
    for (uint64_t i = 1; i <= MANY; i++) {
        snprintf(text, sizeof text, "5{1:%" PRIu64 " 2:5} 4{1:%" PRIu64 " 4{1:%" PRIu64 "}} 2{1:%" PRIu64 " 2[1 8]}",
                 i << 44, i << 44, i << 44, i << 44);
        append(&input, text);
    }
    is_str(attack(&input, "sparse ids"), "", "sparse ids: read");
    end(&input);

    begin(&input); /* tables of nothing */
    append(&input, STRINGS TYPES);
    for (unsigned i = 0; i < 10 * MANY; i++)
        append(&input, "6\"\"");
    is_str(attack(&input, "empty strings"), "", "empty strings: read");
    end(&input);

    begin(&input); /* as many columns as samples have values */
    append(&input, STRINGS TYPES);
    for (unsigned i = 0; i < MANY; i++)
        append(&input, "1{}");
    append(&input, "2{2[1 8]}");
    ok(strstr(attack(&input, "columns"), "sample has 2 values, the profile has 100002 sample types"),
       "columns: refused");
    end(&input);

    begin(&input); /* the smallest locations, each with a name made up for it */
    append(&input, STRINGS TYPES);
    for (unsigned i = 1; i <= MANY; i++) {
        snprintf(text, sizeof text, "4{1:%u 3:%u}", i, i);
        append(&input, text);
    }
    is_str(attack(&input, "addresses"), "", "addresses: read");
    end(&input);

    begin(&input); /* a stack a sample, as small as can be */
    append(&input, STRINGS "1{1:3}" CODE);
    for (unsigned i = 1; i <= MANY; i++) {
        snprintf(text, sizeof text, "4{1:%u 4{1:1 2:%u}} 2{1:%u 2:1}", i + 1, i, i + 1);
        append(&input, text);
    }
    is_str(attack(&input, "small samples"), "", "small samples: read");
    end(&input);
}

int main(void)
{
    test_known_bytes();
    test_go();
    test_age();
    test_inference();
    test_columns();
    test_errors();
    test_damage();
    test_hostile();
    return done();
}
