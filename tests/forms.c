/* Forms and uploads, cookies, credentials, CORS. */
#include "http.h"
#include <dirent.h>

/* An exactly sized block, so that a sanitizer sees who reads past its end. */
static char *block(const char *p, size_t n)
{
    char *copy = (char *)malloc(n ? n : 1);
    memcpy(copy, p, n);
    return copy;
}

/* What is read of one parameter list: "a=b c=d", or "!" for a bad one. */
static const char *parameters(const char *text)
{
    static char out[400];
    size_t n = strlen(text), at = 0;
    char *p = block(text, n);
    aw_slice in = aw__slice(p, n);
    aw__parameter got;
    int rc;
    out[0] = 0;
    while ((rc = aw__http_parameter(&in, &got)) > 0) {
        char value[100];
        size_t len = got.value.n;
        memcpy(value, got.value.p, len);
        if (got.quoted) len = aw__unquote(value, got.value, true);
        at += (size_t)snprintf(out + at, sizeof out - at, "%s%.*s=%.*s",
                               at ? " " : "", (int)got.name.n, got.name.p,
                               (int)len, value);
    }
    if (rc < 0) snprintf(out + at, sizeof out - at, "!");
    free(p);
    return out;
}

TEST(parameter_lists)       /* RFC 9110 5.6.4, 5.6.6 */
{
    CHECK_STR("", parameters(""));
    CHECK_STR("", parameters(" \t"));
    CHECK_STR("", parameters(" ; ;; "));
    CHECK_STR("a=b", parameters(";a=b"));
    CHECK_STR("a=b c=d", parameters(" ; a=b\t;c=d ;"));
    CHECK_STR("a=b c\"\\d", parameters(";a=\"b c\\\"\\\\d\""));
    CHECK_STR("a= b=", parameters(";a=\"\";b=\"\""));
    CHECK_STR("a=xy", parameters(";a=\"\\x\\y\""));
    CHECK_STR("a=\xe4;=", parameters(";a=\"\xe4;=\""));
    CHECK_STR("!", parameters("a=b"));
    CHECK_STR("!", parameters(";a"));
    CHECK_STR("!", parameters(";=b"));
    CHECK_STR("!", parameters(";a ="));
    CHECK_STR("!", parameters(";a =b"));
    CHECK_STR("!", parameters(";a="));
    CHECK_STR("!", parameters(";a= b"));
    CHECK_STR("!", parameters(";a=\"b"));
    CHECK_STR("!", parameters(";a=\"b\\"));
    CHECK_STR("!", parameters(";a=\"b\\\""));
    CHECK_STR("!", parameters(";a=\"b\x01\""));
    CHECK_STR("!", parameters(";a=\"\\\x7f\""));
    CHECK_STR("a=b!", parameters(";a=b c"));
    CHECK_STR("a=b!", parameters(";a=\"b\"c=d"));
    CHECK_STR("a=b!", parameters(";a=b,c=d"));
}

#ifndef ASYNCWEB_NO_FORMS

/* ---- Content-Disposition ---- */

static const char *disposition(const char *text)
{
    static char out[400];
    size_t n = strlen(text);
    char *p = block(text, n);
    aw__disposition d;
    if (aw__disposition_parse(p, n, &d) < 0) snprintf(out, sizeof out, "!");
    else snprintf(out, sizeof out, "%.*s,%.*s,%.*s", (int)d.type.n, d.type.p,
                  d.name.p ? (int)d.name.n : 1, d.name.p ? d.name.p : "-",
                  d.filename.p ? (int)d.filename.n : 1,
                  d.filename.p ? d.filename.p : "-");
    free(p);
    return out;
}

TEST(dispositions)
{
    static const struct { const char *rfc, *text, *want; } rows[] = {
        {"7578 4.2", "form-data; name=a", "form-data,a,-"},
        {"7578 4.2", "form-data; name=\"a b\"; filename=\"c.txt\"",
         "form-data,a b,c.txt"},
        {"7578 4.2 any case", "Form-Data;NAME=a;FileName=b", "Form-Data,a,b"},
        {"7578 4.2 UTF-8", "form-data; name=\"\xc3\xa4\"",
         "form-data,\xc3\xa4,-"},
        {"9110 5.6.4", "form-data; name=\"a\\\"b\\\\c\"",
         "form-data,a\"b\\c,-"},
        {"WHATWG form data", "form-data; name=\"a%22b%0D%0A\"",
         "form-data,a%22b%0D%0A,-"},
        {"old browsers", "form-data; name=a; filename=\"C:\\dir\\f.txt\"",
         "form-data,a,C:\\dir\\f.txt"},
        {"others", "form-data; name=a; x=y; z=\"\"", "form-data,a,-"},
        {"6266 4.1", "inline", "inline,-,-"},
        {"empty", "form-data; name=\"\"; filename=\"\"", "form-data,,"},
        {"8187 3.2.3", "form-data; name=a; filename*=UTF-8''%e2%82%ac%20rates",
         "form-data,a,\xe2\x82\xac rates"},
        {"8187 3.2 language", "form-data; filename*=utf-8'en-GB'a%2Fb",
         "form-data,-,a/b"},
        {"6266 4.3", "form-data; filename*=UTF-8''x; filename=y",
         "form-data,-,x"},
        {"6266 4.3", "form-data; filename=y; filename*=UTF-8''x",
         "form-data,-,x"},
        {"8187 3.2.1 charset", "form-data; filename*=iso-8859-1''a", "!"},
        {"8187 3.2.1 no charset", "form-data; filename*=''a", "!"},
        {"8187 3.2.1 one quote", "form-data; filename*=UTF-8'a", "!"},
        {"8187 3.2.1 none", "form-data; filename*=a", "!"},
        {"8187 3.2.1 escape", "form-data; filename*=UTF-8''%e2%8", "!"},
        {"8187 UTF-8", "form-data; filename*=UTF-8''%ff", "!"},
        {"8187 NUL", "form-data; filename*=UTF-8''a%00b", "!"},
        {"8187 quoted", "form-data; filename*=\"UTF-8''a\"", "!"},
        {"6266 4.1 twice", "form-data; name=a; name=b", "!"},
        {"6266 4.1 twice", "form-data; filename=a; FILENAME=b", "!"},
        {"6266 4.1 twice", "form-data; filename*=UTF-8''a; filename*=UTF-8''a",
         "!"},
        {"grammar", "", "!"},
        {"grammar", "; name=a", "!"},
        {"grammar", "form-data name=a", "!"},
        {"grammar", "form-data; name", "!"},
        {"grammar", "form-data; name=a b", "!"},
        {"grammar", "form-data; name=\"a", "!"},
        {"grammar", "form/data; name=a", "!"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        NOTE("%s: %s", rows[i].rfc, rows[i].text);
        CHECK_STR(rows[i].want, disposition(rows[i].text));
    }
}

TEST(safe_names)
{
    static const struct { const char *text, *want; } rows[] = {
        {"a.txt", "a.txt"}, {"/etc/passwd", "passwd"}, {"../../x", "x"},
        {"C:\\dir\\x.txt", "x.txt"}, {"C:x", "C_x"}, {"..", "_"}, {".", "_"},
        {"", "_"}, {"a/", "_"}, {".bashrc", "bashrc"}, {"\x01.x", "x"},
        {" . x", "x"}, {"a\r\nb\x7f" "c", "abc"}, {"x. .", "x"},
        {"\xc3\xa4.txt", "\xc3\xa4.txt"}, {"a\xff" "b", "a_b"},
        {"a\xc2\x85" "b", "ab"}, {"a\xe2\x82", "a_"}, {"/..\\...", "_"},
        {"x/\xc0\xae\xc0\xae", "____"},
    };
    char name[AW__SAFE_NAME + 1], text[1000];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].text);
        char *p = block(rows[i].text, n);
        NOTE("row %d", (int)i);
        aw__safe_name(name, aw__slice(p, n));
        CHECK_STR(rows[i].want, name);
        free(p);
    }
    NOTE("long");
    for (size_t i = 0; i < sizeof text; i += 2) memcpy(text + i, "\xc3\xa4", 2);
    aw__safe_name(name, aw__slice(text, 999));
    CHECK_EQ(200, strlen(name));
    aw__safe_name(name, aw__slice(text + 1, 999));  /* "_" and 99 letters */
    CHECK_EQ(199, strlen(name));
    for (int i = 0; i < 20000; i++) {       /* whatever comes */
        size_t n = rnd(20);
        for (size_t k = 0; k < n; k++)
            text[k] = (char)(rnd(2) ? rnd(256) : (uint32_t)"./\\:"[rnd(4)]);
        aw__safe_name(name, aw__slice(text, n));
        CHECK(name[0] && name[0] != '.' && !strpbrk(name, "/\\\n\r\x1b"));
        CHECK_EQ(strlen(name), aw__utf8_valid(name, strlen(name)));
    }
}

/* ---- multipart ---- */

/* Reads a body in pieces: bytes up to `split`, then `piece` bytes each (0: the
   rest). "name,filename,type=content;" a part, then . for a whole body, ~ for
   one that is cut off, or the error. */
static const char *multipart(const char *type, const char *body, size_t n,
                             size_t split, size_t piece)
{
    static char out[20000];
    static const char dash[] = "-";
    aw__multipart m;
    size_t at = 0, o = 0;
    int rc = 0;
    out[0] = 0;
    rc = aw__multipart_init(&m, aw__slice(type, strlen(type)));
    if (rc != 1) return rc ? "bad type" : "no form";
    m.max_head = 200;
    m.parts = 5;
    rc = AW_EAGAIN;
    while (at < n && rc == AW_EAGAIN) {
        size_t len = at < split ? split - at : piece ? piece : n - at;
        char *p;
        aw_slice in, data;
        if (len > n - at) len = n - at;
        p = block(body + at, len);
        in = aw__slice(p, len);
        while ((rc = aw__multipart_next(&m, &in, &data)) > 0) {
            const aw_slice *f = &m.part.filename, *t = &m.type;
            const aw_slice *name = &m.part.name;
            if (rc == AW__PART_BEGINS)
                o += (size_t)sprintf(out + o, "%.*s,%.*s,%.*s=",
                    (int)name->n, name->p, f->p ? (int)f->n : 1,
                    f->p ? f->p : dash, t->p ? (int)t->n : 1,
                    t->p ? t->p : dash);
            else if (rc == AW__PART_DATA)
                CHECK(data.n > 0), memcpy(out + o, data.p, data.n),
                    o += data.n;
            else
                out[o++] = ';';
        }
        at += len;
        free(p);
    }
    if (rc == AW_EBADMSG) strcpy(out, "bad");
    else if (rc == AW_ETOOBIG) strcpy(out, "big");
    else if (rc != AW_EAGAIN) strcpy(out, "?");
    else strcpy(out + o, aw__multipart_whole(&m) ? "." : "~");
    aw__buf_free(&m.head);
    return out;
}

#define B "--B\r\n"
#define D(name) "Content-Disposition: form-data; name=" name "\r\n"
#define E "\r\n--B--\r\n"
#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
    const char *rfc, *body, *want;
} bodies[] = {
    {"7578 4.1", B D("a") "\r\nx" E, "a,-,-=x;."},
    {"two parts", B D("a") "\r\nx\r\n" B D("b") "\r\ny" E, "a,-,-=x;b,-,-=y;."},
    {"file", B D("a; filename=f") "Content-Type: a/b; c=d\r\n\r\nx" E,
     "a,f,a/b; c=d=x;."},
    {"no file chosen", B D("a; filename=\"\"") "\r\n" E, "a,,-=;."},
    {"field names in any case", "--B\r\ncontent-disposition:form-data;name=a"
     "\r\n\r\nx" E, "a,-,-=x;."},
    {"2046 5.1.1 preamble", "hello\r\n--\r\n--A\r\n" B D("a") "\r\nx" E,
     "a,-,-=x;."},
    {"2046 5.1.1 empty preamble line", "\r\n" B D("a") "\r\nx" E, "a,-,-=x;."},
    {"preamble with half a delimiter", "-" B "\r\n-" "\r\n" B D("a") "\r\nx" E,
     "a,-,-=x;."},
    {"2046 5.1.1 epilogue", B D("a") "\r\nx" E "by\r\n--B\r\ne", "a,-,-=x;."},
    {"no CRLF at the end", B D("a") "\r\nx\r\n--B--", "a,-,-=x;."},
    {"2046 5.1.1 padding", "--B \t\r\n" D("a") "\r\nx\r\n--B-- \t\r\n",
     "a,-,-=x;."},
    {"2046 5.1.1 CRLF is the delimiter's", B D("a") "\r\nx\r\n" E,
     "a,-,-=x\r\n;."},
    {"empty content", B D("a") "\r\n" E, "a,-,-=;."},
    {"2046 5.1.1 no content", B D("a") "\r\n--B--\r\n", "a,-,-=;."},
    {"no content, twice", B D("a") "\r\n" B D("b") "\r\n" B D("c") "\r\nx" E,
     "a,-,-=;b,-,-=;c,-,-=x;."},
    {"content begins as a delimiter", B D("a") "\r\n-" E, "a,-,-=-;."},
    {"content begins as a delimiter", B D("a") "\r\n--" E, "a,-,-=--;."},
    {"content begins as a delimiter", B D("a") "\r\n--b" E, "a,-,-=--b;."},
    {"not at a line's beginning", B D("a") "\r\nx--B--\r\n" E,
     "a,-,-=x--B--\r\n;."},
    {"LF before it", B D("a") "\r\nx\n--B--\r\n" E, "a,-,-=x\n--B--\r\n;."},
    {"CR before it", B D("a") "\r\nx\r--B--\r\n" E, "a,-,-=x\r--B--\r\n;."},
    {"half a delimiter", B D("a") "\r\n\r\r\n\r\n-\r\n--\r\n--A\r\n--" E,
     "a,-,-=\r\r\n\r\n-\r\n--\r\n--A\r\n--;."},
    {"CR CR LF", B D("a") "\r\nx\r\r\n--B--\r\n", "a,-,-=x\r;."},
    {"no part", "--B--\r\n", "."},
    {"no part", "--B--", "."},
    {"5322 2.2.3 folding", "--B\r\nContent-Disposition: form-data;\r\n"
     "  name=a;\r\n\tfilename=b\r\n\r\nx" E, "a,b,-=x;."},
    {"7578 4.8 others are ignored", B "X-A: 1\r\n" D("a") "X-B:\r\n\r\nx" E,
     "a,-,-=x;."},
    {"7578 4.7", B D("a") "Content-Transfer-Encoding: binary\r\n\r\nx" E,
     "a,-,-=x;."},
    {"five parts", B D("a") "\r\n" B D("a") "\r\n" B D("a") "\r\n" B D("a")
     "\r\n" B D("a") "\r\n--B--", "a,-,-=;a,-,-=;a,-,-=;a,-,-=;a,-,-=;."},
    {"six", B D("a") "\r\n" B D("a") "\r\n" B D("a") "\r\n" B D("a")
     "\r\n" B D("a") "\r\n" B D("a") "\r\n--B--", "big"},
    {"head of 200", B "X: " A50 A50 "\r\nY: " A50 "\r\n" D("a") "\r\nx" E,
     "big"},
    {"head of 200", B "X: " A50 A50 "\r\nY: aa\r\n" D("abcdefghijklmnopqrst")
     "Z: aaaaaaaaaaaaaaaaaaaaaa\r\n\r\nx" E, "abcdefghijklmnopqrst,-,-=x;."},
    {"head of 201", B "X: " A50 A50 "\r\nY: aa\r\n" D("abcdefghijklmnopqrst")
     "Z: aaaaaaaaaaaaaaaaaaaaaaa\r\n\r\nx" E, "big"},
    {"cut off", "", "~"},
    {"cut off", "--B", "~"},
    {"cut off", "--B-", "~"},
    {"cut off", B D("a"), "~"},
    {"cut off", B D("a") "\r\nx", "a,-,-=x~"},
    {"cut off", B D("a") "\r\nx\r\n--B", "a,-,-=x;~"},
    {"cut off", B D("a") "\r\nx\r\n--B\r\n", "a,-,-=x;~"},
    {"cut off", "--B--\r", "~"},
    {"no delimiter at all", "hello", "~"},
    {"2046 5.1.1 what follows it", "--Bx\r\n" D("a") "\r\nx" E, "bad"},
    {"2046 5.1.1 what follows it", B D("a") "\r\nx\r\n--Bx", "bad"},
    {"what follows it", "--B-x", "bad"},
    {"what follows it", "--B\n" D("a") "\r\nx" E, "bad"},
    {"what follows it", "--B\rx", "bad"},
    {"what follows the last", "--B--x", "bad"},
    {"what follows the last", "--B--\rx", "bad"},
    {"7578 4.2 no name", B "Content-Disposition: form-data\r\n\r\nx" E, "bad"},
    {"7578 4.2 no disposition", B "\r\nx" E, "bad"},
    {"7578 4.2 no disposition", B "X: y\r\n\r\nx" E, "bad"},
    {"7578 4.2 another one", B "Content-Disposition: inline; name=a\r\n\r\n" E,
     "bad"},
    {"twice", B D("a") D("a") "\r\nx" E, "bad"},
    {"twice", B D("a") "Content-Type: a/b\r\nContent-Type: a/b\r\n\r\nx" E,
     "bad"},
    {"7578 4.7", B D("a") "Content-Transfer-Encoding: base64\r\n\r\neA==" E,
     "bad"},
    {"5322 2.2 LF", B "Content-Disposition: form-data; name=a\n\nx" E, "bad"},
    {"5322 2.2 CR", B "X: a\rb\r\n" D("a") "\r\nx" E, "bad"},
    {"5322 2.2 no colon", B "X\r\n" D("a") "\r\nx" E, "bad"},
    {"5322 2.2 space", B "X : y\r\n" D("a") "\r\nx" E, "bad"},
    {"5322 2.2.3 nothing to continue", B " X: y\r\n" D("a") "\r\nx" E, "bad"},
    {"control character", B D("\"a\x01\"") "\r\nx" E, "bad"},
};

static const char form_B[] = "multipart/form-data; boundary=B";

TEST(multipart_bodies)
{
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        const char *body = bodies[i].body;
        size_t n = strlen(body);
        NOTE("row %d, %s", (int)i, bodies[i].rfc);
        CHECK_STR(bodies[i].want, multipart(form_B, body, n, n, 0));
        CHECK_STR(bodies[i].want, multipart(form_B, body, n, 0, 1));
        for (size_t split = 1; split < n; split++) {
            NOTE("row %d, %s, at %d", (int)i, bodies[i].rfc, (int)split);
            CHECK_STR(bodies[i].want, multipart(form_B, body, n, split, 0));
        }
    }
}

TEST(multipart_types)
{
    static const char b70[] = "boundary=\"" A50 "aaaaaaaaaaaaaaaaaaaa\"";
    static const char b71[] = "boundary=" A50 "aaaaaaaaaaaaaaaaaaaaa";
    static const struct { const char *type, *want; } rows[] = {
        {"multipart/form-data; boundary=B", "."},
        {"MultiPart/Form-Data;BOUNDARY=B", "."},
        {"multipart/form-data; charset=utf-8; boundary=\"B\"; x=y", "."},
        {"multipart/form-data; boundary=\"\\B\"", "."},
        {"multipart/form-data ; boundary=B ;", "."},
        {"multipart/form-data; boundary=C", "~"},
        {"multipart/form-data; boundary=b", "~"},
        {"multipart/form-data; boundary=\"a b'()+_,-./:=?\"", "~"},
        {"multipart/form-data", "bad type"},
        {"multipart/form-data; boundary=", "bad type"},
        {"multipart/form-data; boundary=\"\"", "bad type"},
        {"multipart/form-data; boundary=B; boundary=B", "bad type"},
        {"multipart/form-data; boundary=\"B \"", "bad type"},
        {"multipart/form-data; boundary=\"B", "bad type"},
        {"multipart/form-data; boundary=a:b", "bad type"},
        {"multipart/form-data; boundary=a*b", "bad type"},
        {"multipart/form-data; boundary=\"a\xe4\"", "bad type"},
        {"multipart/form-data, boundary=B", "no form"},
        {"multipart/form-data boundary=B", "bad type"},
        {"multipart/mixed; boundary=B", "no form"},
        {"multipart/form-datax; boundary=B", "no form"},
        {"", "no form"},
    };
    static const char body[] = "--" A50 "aaaaaaaaaaaaaaaaaaaa\r\n" D("a")
        "\r\nx\r\n--" A50 "aaaaaaaaaaaaaaaaaaaa--";
    char type[200];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        NOTE("%s", rows[i].type);
        CHECK_STR(rows[i].want, multipart(rows[i].type, "--B--", 5, 5, 0));
    }
    snprintf(type, sizeof type, "multipart/form-data; %s", b70);
    CHECK_STR("~", multipart(type, "", 0, 0, 0));
    CHECK_STR("a,-,-=x;.", multipart(type, body, strlen(body), 1, 7));
    snprintf(type, sizeof type, "multipart/form-data; %s", b71);
    CHECK_STR("bad type", multipart(type, "", 0, 0, 0));
}

/* Random content made of the bytes that matter comes out as it went in. */
TEST(multipart_random)
{
    char body[2000], want[2000];
    for (long round = 0; round < test_rounds(30000); round++) {
        size_t n = 0, w = 0, piece = 1 + rnd(9);
        int parts = (int)rnd(5);
        for (int i = 0; i < parts; i++) {
            size_t len = rnd(40), from;
            n += (size_t)sprintf(body + n, "%s--B\r\n%s\r\n", i ? "\r\n" : "",
                                 D("a"));
            w += (size_t)sprintf(want + w, "a,-,-=");
            from = n;
            for (size_t k = 0; k < len; k++) body[n++] = "\r\n-BCx"[rnd(6)];
            body[n] = 0;
            /* What would be a delimiter is none any more. */
            for (char *p = body + from - 2; (p = strstr(p, "\r\n--B")) != NULL;)
                p[4] = 'b';
            memcpy(want + w, body + from, n - from);
            w += n - from;
            want[w++] = ';';
        }
        n += (size_t)sprintf(body + n, "%s--B--\r\n", parts ? "\r\n" : "");
        strcpy(want + w, ".");
        NOTE("round %ld", round);
        CHECK_STR(want, multipart(form_B, body, n, rnd((uint32_t)n), piece));
    }
}

TEST(multipart_without_memory)
{
    fault_set(NULL, 1, 0);
    CHECK_STR("?", multipart(form_B, B D("a"), strlen(B D("a")), 0, 1));
    fault_set(NULL, 0, 0);
}

/* ---- forms of requests ---- */

static unsigned sum_of(const aw_file *f)
{
    char part[7];
    unsigned sum = 0;
    int64_t at = 0;
    int n;
    while ((n = aw_file_read(f, at, part, sizeof part)) > 0)
        for (at += n; n > 0; n--) sum = sum * 31 + (unsigned char)part[n - 1];
    CHECK(n == 0 || fault_at);
    CHECK(f->size == at || fault_at);
    return sum;
}

/* "a=1 b=2 | photo f.txt f.txt text/plain 5 <hello>": fields, then files; what
   lies on disk is marked by a sum of its bytes. */
VIEW(show_form)
{
    char text[4000] = "";
    const char *name, *value;
    const aw_file *files;
    size_t at = 0, n, i;
    for (i = 0; aw_form_at(req, i, &name, &value); i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s=%s ", name,
                               value);
        CHECK(aw_form(req, name) != NULL);
    }
    CHECK(!aw_form_at(req, i + 1, &name, &value));
    if (i) CHECK(aw_form_at(req, 0, &name, &value));
    files = aw_files(req, &n);
    for (i = 0; i < n; i++) {
        const aw_file *f = &files[i];
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "| %s %s %s %s %d ", f->field, f->filename,
                               f->safe_name, f->type, (int)f->size);
        if (f->bytes) CHECK_EQ((long long)f->size, strlen(f->bytes));
        if (f->bytes) (void)sum_of(f);
        at += (size_t)snprintf(text + at, sizeof text - at,
                               f->bytes ? "<%s> " : "%s%u ",
                               f->bytes ? f->bytes : "#",
                               f->bytes ? 0 : sum_of(f));
        CHECK(aw_file_of(req, f->field) != NULL);
    }
    CHECK(!aw_file_of(req, "nobody"));
    CHECK_EQ(0, aw_body(req).n == 0 ? 0 : n);
    return aw_text(req, text);
}

VIEW(query)
{
    char text[1000] = "";
    const char *name, *value;
    size_t at = 0;
    for (size_t i = 0; aw_query_at(req, i, &name, &value); i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "[%s=%s]", name,
                               value);
    if (aw_query_at(req, 1, &name, &value))
        at += (size_t)snprintf(text + at, sizeof text - at, " %s", value);
    CHECK(!aw_query_at(req, 99, &name, &value));
    return aw_text(req, text);
}

ASYNC_VIEW(slow)
{
    BEGIN {
        AWAIT(aw_sleep_ms, 1000);
        RETURN(aw_empty(req, 204));
    }
}

/* The same as show, of a route that streams: part after part. ?skip: content
   of files is not read; ?size= bytes at a time. */
ASYNC_VIEW(parts, aw_part part; char text[3000]; char some[64]; size_t at;
           int n; int first; int size;)
{
    BEGIN {
        self->size = (int)aw_query_int(req, "size", 64);
        for (;;) {
            AWAIT(aw_yield);
            AWAIT_TO(self->n, aw_part_next, req, &self->part);
            if (self->n <= 0) break;
            self->at += (size_t)snprintf(self->text + self->at, 300,
                "%s %s %s %s <", self->part.field,
                self->part.filename ? self->part.filename : "-",
                self->part.safe_name ? self->part.safe_name : "-",
                self->part.type);
            if (self->part.filename && aw_query(req, "skip")) continue;
            do {
                AWAIT_TO(self->n, aw_part_read, req, self->some,
                         (size_t)self->size);
                if (self->n < 0) RETURN(self->n);
                CHECK(self->n <= self->size);
                if (self->at + (size_t)self->n + 300 > sizeof self->text)
                    RETURN(500);
                memcpy(self->text + self->at, self->some, (size_t)self->n);
                self->at += (size_t)self->n;
            } while (self->n > 0);
            strcpy(self->text + self->at++, ">");
            AWAIT_TO(self->n, aw_part_read, req, self->some, 1);
            CHECK_EQ(0, self->n);
        }
        if (self->n < 0) {
            self->first = self->n;
            AWAIT_TO(self->n, aw_part_next, req, &self->part);
            RETURN(self->first == self->n ? self->n : 500);
        }
        AWAIT_TO(self->n, aw_part_next, req, &self->part);
        CHECK_EQ(0, self->n);
        RETURN(aw_text(req, self->text));
    }
}

static size_t most_memory;

/* However long the parts, they need no memory. */
ASYNC_VIEW(swallow, aw_part part; char some[8192]; int64_t got; int n;)
{
    BEGIN {
        for (;;) {
            AWAIT_TO(self->n, aw_part_next, req, &self->part);
            if (self->n <= 0) break;
            do {
                AWAIT_TO(self->n, aw_part_read, req, self->some,
                         sizeof self->some);
                if (self->n < 0) RETURN(self->n);
                self->got += self->n;
                if (aw_req_loop(req)->mem.live > most_memory)
                    most_memory = aw_req_loop(req)->mem.live;
            } while (self->n > 0);
        }
        if (self->n < 0) RETURN(self->n);
        RETURN(aw_printf(req, "%lld", (long long)self->got));
    }
}

/* What is asked in the wrong place is refused, and disturbs nothing. */
ASYNC_VIEW(misplaced, aw_part part; int n;)
{
    BEGIN {
        AWAIT_TO(self->n, aw_part_read, req, &self->part, 1);
        CHECK_EQ(AW_EINVAL, self->n);
        AWAIT_TO(self->n, aw_part_next, req, &self->part);
        RETURN(self->n == AW_EINVAL ? aw_text(req, aw_form(req, "a")) : 500);
    }
}

static char directory[64];          /* of save */
static int saved[4];

/* Saves the file "f" as ?as=, twice, then replaces it. */
VIEW(save)
{
    const aw_file *f = aw_file_of(req, "f");
    char path[200];
    if (!f) return 400;
    snprintf(path, sizeof path, "%s/%s", directory, f->safe_name);
    saved[0] = aw_file_save(f, path);
    saved[1] = aw_file_save(f, path);
    saved[2] = aw_file_replace(f, path);
    (void)sum_of(f);
    return aw_empty(req, 204);
}

ROUTES(forms,
    POST("/", show_form), GET("/", query), POST("/save", save),
    POST("/slow", slow),
    POST("/parts", parts, .stream = true), POST("/misplaced", misplaced),
    POST("/swallow", swallow, .stream = true, .max_body = 1 << 24))

static const char *post_form(aw_test *t, const char *target, const char *body,
                             size_t n, size_t piece)
{
    static char out[4400];
    char *all = (char *)malloc(n + 300);
    size_t head = (size_t)sprintf(all, "POST %s HTTP/1.1\r\nHost: a\r\n"
        "Connection: close\r\nContent-Type: %s\r\nContent-Length: %lu\r\n\r\n",
        target, form_B, (unsigned long)n);
    const char *got, *text;
    memcpy(all + head, body, n);
    got = aw_test_raw(t, all, head + n, piece);
    text = strstr(got, "\r\n\r\n");
    snprintf(out, sizeof out, "%.3s%s%s", strlen(got) > 9 ? got + 9 : "",
             strncmp(got, "HTTP/1.1 200", 12) == 0 ? " " : "",
             strncmp(got, "HTTP/1.1 200", 12) == 0 && text ? text + 4 : "");
    free(all);
    return out;
}

static const char *post(aw_test *t, const char *body)
{
    return post_form(t, "/", body, strlen(body), 0);
}

/* One file of n bytes "abc...": its part. */
static size_t file_part(char *to, const char *name, size_t n)
{
    size_t at = (size_t)sprintf(to, "--B\r\nContent-Disposition: form-data; "
                                "name=%s; filename=%s.bin\r\n\r\n", name, name);
    for (size_t i = 0; i < n; i++) to[at++] = (char)('a' + i % 26);
    return at + (size_t)sprintf(to + at, "\r\n");
}

#define F(name, file) D(name "; filename=\"" file "\"")
#define TEXT "Content-Type: text/plain\r\n"

TEST(forms_of_parts)
{
    static const char all[] = B D("a") "\r\n1\r\n" B F("photo", "../f.txt")
        TEXT "\r\nhello\r\n" B D("\"b c\"") "\r\n2\r\n" B D("a") "\r\n3\r\n"
        B F("none", "") "\r\n\r\n" B F("empty", "e") "\r\n" E;
    static const char nul[] = B D("a") "\r\n1\0" "2\r\n" B F("b", "f") "\r\nx\r\n"
        B D("c") "\r\n2" E;
    static const char want[] = "200 a=1 b c=2 a=3 | photo ../f.txt f.txt "
        "text/plain 5 <hello> | empty e e  0 <> ";
    aw_config config = quiet_config();
    aw_test *t = app_with(forms, &config);
    CHECK_STR(want, post(t, all));
    for (size_t piece = 1; piece < 40; piece++) {
        NOTE("in pieces of %d", (int)piece);
        CHECK_STR(want, post_form(t, "/", all, sizeof all - 1, piece));
    }
    NOTE("others");
    CHECK_STR("200 ", post(t, "--B--"));
    CHECK_STR("200 | f \xff \x5f  1 <x> ",
              post(t, B F("f", "\xff") "\r\nx" E));
    CHECK_STR("200 c=2 | b f f  1 <x> ", post_form(t, "/", nul, sizeof nul - 1,
                                                   0));
    CHECK_STR("400", post(t, B D("a") "\r\n1\r\n"));
    CHECK_STR("400", post(t, B "\r\n1" E));
    CHECK_STR("400", post(t, "hello"));
    CHECK_EQ(0, aw_test_close(t));
}

TEST(forms_chunked)
{
    static const char all[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: "
        "multipart/form-data; boundary=\"B\"\r\nTransfer-Encoding: chunked\r\n"
        "\r\n7\r\n--B\r\nCo\r\n35\r\nntent-Disposition: form-data; name=a; "
        "filename=f\r\n\r\nx\r\nD\r\ny\r\n--C\r\n--B--\r\n0\r\n\r\n"
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    aw_config config = quiet_config();
    aw_test *t = app_with(forms, &config);
    for (size_t piece = 0; piece < 9; piece++) {
        const char *got = aw_test_raw(t, all, sizeof all - 1, piece);
        NOTE("in pieces of %d", (int)piece);
        CHECK(strstr(got, "\r\n\r\n| a f f  7 <xy\r\n--C> HTTP/1.1 200") !=
              NULL);
    }
    CHECK_EQ(0, aw_test_close(t));
}

TEST(forms_of_bad_types)
{
    static const char *const types[] = {
        "multipart/form-data", "multipart/form-data; boundary=\"a \""
    };
    aw_config config = quiet_config();
    aw_test *t = app_with(forms, &config);
    for (int i = 0; i < 2; i++) {
        char all[300];
        snprintf(all, sizeof all, "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: "
                 "%s\r\nContent-Length: 5\r\n\r\nhello", types[i]);
        CHECK(strncmp(aw_test_raw(t, all, strlen(all), 0), "HTTP/1.1 400", 12)
              == 0);
    }
    CHECK_EQ(0, aw_test_close(t));
}

TEST(parts_that_the_view_reads)
{
    static const char all[] = "pre\r\n" B D("a") "\r\n1\r\n" B
        F("photo", "../f.txt") TEXT "\r\nhel\r\n--lo\r\n" B D("\"b c\"") "\r\n" E
        "post";
    static const char want[] = "200 a - -  <1>photo ../f.txt f.txt text/plain "
        "<hel\r\n--lo>b c - -  <>";
    static const char skipped[] = "200 a - -  <1>photo ../f.txt f.txt "
        "text/plain <b c - -  <>";
    aw_config config = quiet_config();
    for (uint64_t seed = 0; seed < 4; seed++) {
        aw_test_config c;
        aw_test *t;
        memset(&c, 0, sizeof c);
        c.routes = forms;
        c.config = &config;
        c.chaos = seed;
        t = aw_test_open_config(c);
        for (size_t piece = 0; piece < 30; piece++) {
            NOTE("seed %d, in pieces of %d", (int)seed, (int)piece);
            CHECK_STR(want, post_form(t, "/parts", all, sizeof all - 1, piece));
            CHECK_STR(want, post_form(t, "/parts?size=1", all, sizeof all - 1,
                                      piece));
            CHECK_STR(skipped, post_form(t, "/parts?skip", all, sizeof all - 1,
                                         piece));
        }
        NOTE("seed %d", (int)seed);
        CHECK_STR("200 ", post_form(t, "/parts", "--B--", 5, 0));
        CHECK_STR("400", post_form(t, "/parts", all, sizeof all - 12, 0));
        CHECK_STR("400", post_form(t, "/parts", "--Bx", 4, 0));
        CHECK_STR("200 1", post_form(t, "/misplaced", all, sizeof all - 1, 0));
        CHECK_EQ(400, ask(t, "POST", "/parts", NULL, NULL)->status);
        CHECK_EQ(0, aw_test_close(t));
    }
}

TEST(parts_at_their_limits)
{
    aw_config config = quiet_config();
    aw_test *t;
    static const char three[] = B D("a") "\r\n" B D("a") "\r\n" B D("a")
        "\r\n--B--", head[] = B D("a") "X: 12345678901234567890\r\n\r\n1" E;
    config.max_parts = 2;
    config.max_part_head = 60;
    t = app_with(forms, &config);
    CHECK_STR("413", post_form(t, "/parts", three, sizeof three - 1, 0));
    CHECK_STR("413", post_form(t, "/parts", head, sizeof head - 1, 0));
    CHECK_EQ(0, aw_test_close(t));
}

TEST(parts_in_flat_memory)
{
    aw_config config = quiet_config();
    aw_test *t = app_with(forms, &config);
    char *body = (char *)malloc((8 << 20) + 5000), want[40];
    size_t n = file_part(body, "f", 8 << 20), before;
    before = aw_test_loop(t)->mem.live;
    most_memory = 0;
    n += (size_t)sprintf(body + n, "--B--");
    snprintf(want, sizeof want, "200 %d", 8 << 20);
    CHECK_STR(want, post_form(t, "/swallow", body, n, 0));
    CHECK(most_memory > 0 && most_memory - before < 200000);
    CHECK_EQ(0, aw_test_close(t));
    free(body);
}

/* Fields of an urlencoded body, and the query, one by one. */
TEST(pairs_in_order)
{
    static const char body[] = "a=1&b+c=%32&&a=3&d";
    static const aw_header_field type[] = {
        {"Content-Type", "application/x-www-form-urlencoded ; x=y"},
        {NULL, NULL}
    };
    aw_config config = quiet_config();
    aw_test *t = app_with(forms, &config);
    aw_test_request r;
    memset(&r, 0, sizeof r);
    r.target = "/";
    r.body = body;
    r.headers = type;
    CHECK_STR("a=1 b c=2 a=3 d= ", aw_test_send(t, r)->body);
    CHECK_STR("[a=1][b c=2][a=3][d=] 2",
              aw_test_get(t, "/?a=1&b+c=%32&&a=3&d")->body);
    CHECK_STR("", aw_test_get(t, "/")->body);
    CHECK_STR("", aw_test_get(t, "/?&&")->body);
    r.body = "a=1&b=%00&c%00=2&d=%%00&e=3&f=4%0";
    CHECK_STR("a=1 e=3 f=4%0 ", aw_test_send(t, r)->body);
    CHECK_EQ(0, aw_test_close(t));
}

static unsigned sum_of_letters(size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i += 7)
        for (size_t k = n - i < 7 ? n - i : 7; k > 0; k--)
            sum = sum * 31 + (unsigned)('a' + (i + k - 1) % 26);
    return sum;
}

static int names_in(const char *dir)
{
    DIR *d = opendir(dir);
    int n = -2;
    CHECK(d != NULL);
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

static void directory_open(void)
{
    snprintf(directory, sizeof directory, "/tmp/asyncweb-forms-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
}

static void directory_close(void)
{
    CHECK_EQ(0, names_in(directory));
    CHECK_EQ(0, rmdir(directory));
}

TEST(files_that_go_to_disk)
{
    aw_config config = quiet_config();
    char *body = (char *)malloc(400000), want[300];
    size_t n;
    aw_test *t;
    directory_open();
    config.upload_dir = directory;
    config.file_memory = 100;
    t = app_with(forms, &config);
    for (size_t size = 99; size <= 70000; size += size < 102 ? 1 : 23299) {
        n = file_part(body, "a", size);
        n += file_part(body + n, "b", 50);
        n += file_part(body + n, "c", size + 1);
        n += (size_t)sprintf(body + n, "--B--");
        NOTE("%d bytes", (int)size);
        if (size > 100) {
            snprintf(want, sizeof want, "200 | a a.bin a.bin  %d #%u | b b.bin "
                     "b.bin  50 <%.50s> | c c.bin c.bin  %d #%u ", (int)size,
                     sum_of_letters(size),
                     "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
                     (int)size + 1, sum_of_letters(size + 1));
            CHECK_STR(want, post_form(t, "/", body, n, 0));
            CHECK_STR(want, post_form(t, "/", body, n, 333));
        } else {
            CHECK(strstr(post_form(t, "/", body, n, 0), "<") != NULL);
        }
        CHECK_EQ(0, names_in(directory));
    }
    CHECK_EQ(0, aw_test_close(t));
    directory_close();
    free(body);
}

TEST(forms_at_their_limits)
{
    aw_config config = quiet_config();
    char *body = (char *)malloc(1 << 18), field[300];
    const char *got;
    size_t n = 0;
    aw_test *t;
    config.max_parts = 3;
    config.max_part_head = 60;
    config.form_memory = 1000;
    t = app_with(forms, &config);
    CHECK_STR("200 a=1 a=1 a=1 ", post(t, B D("a") "\r\n1\r\n" B D("a")
        "\r\n1\r\n" B D("a") "\r\n1" E));
    CHECK_STR("413", post(t, B D("a") "\r\n1\r\n" B D("a") "\r\n1\r\n" B D("a")
        "\r\n1\r\n" B D("a") "\r\n1" E));
    CHECK_STR("413", post(t, B D("a") "X: 12345678901234567890\r\n\r\n1" E));
    /* 42 bytes of head, then as many of content as are left. */
    memset(field, 'x', sizeof field);
    for (size_t more = 957; more <= 959; more++) {
        n = (size_t)sprintf(body, "%s", B D("a") "\r\n");
        memset(body + n, 'x', more);
        n += more;
        n += (size_t)sprintf(body + n, "\r\n--B--");
        NOTE("field of %d", (int)more);
        CHECK(strncmp(post_form(t, "/", body, n, 0), more < 959 ? "200" : "413",
                      3) == 0);
    }
    NOTE("the heads alone are too much");
    config.form_memory = 50;
    CHECK_EQ(0, aw_test_close(t));
    t = app_with(forms, &config);
    CHECK_STR("200 a=1 ", post(t, B D("a") "\r\n1" E));
    CHECK_STR("413", post(t, B D("a") "X: 1234\r\n\r\n1" E));
    CHECK_STR("413", post(t, B D("a") "\r\n\r\n" B F("f", "") "\r\n1" E));
    config.form_memory = 1000;
    NOTE("small files fill the memory, and the next goes to disk");
    n = file_part(body, "a", 600);
    n += file_part(body + n, "b", 600);
    n += (size_t)sprintf(body + n, "--B--");
    CHECK_EQ(0, aw_test_close(t));
    config.max_part_head = 0;
    t = app_with(forms, &config);
    CHECK(strstr(post_form(t, "/", body, n, 0), "600 #") != NULL);
    CHECK_EQ(0, aw_test_close(t));
    NOTE("never to disk");
    config.file_memory = (size_t)AW_OFF;
    t = app_with(forms, &config);
    n = file_part(body, "a", 3000);
    n += file_part(body + n, "b", 1);
    n += (size_t)sprintf(body + n, "%s", B D("c") "\r\n1" E);
    got = post_form(t, "/", body, n, 0);
    CHECK(strstr(got, "3000 <abc") != NULL);
    CHECK(strncmp(got, "200 c=1 | a ", 12) == 0);   /* fields have theirs */
    CHECK_EQ(0, aw_test_close(t));
    NOTE("small files leave room for the heads of others, and for a field");
    config.file_memory = config.max_parts = 0;
    t = app_with(forms, &config);
    for (int i = n = 0; i < 5; i++)
        n += file_part(body + n, "f", i < 4 ? 150 : 95);
    n += (size_t)sprintf(body + n, "%s", B D("c") "\r\n1" E);
    got = post_form(t, "/", body, n, 0);
    CHECK(strncmp(got, "200 c=1 | f ", 12) == 0);
    CHECK_EQ(0, aw_test_close(t));
    free(body);
}

TEST(disk_trouble)
{
    static const struct { const char *call; int error; const char *want; }
    rows[] = {
        {"file_open", EMFILE, "503"}, {"file_open", ENOSPC, "507"},
        {"file_write", ENOSPC, "507"}, {"file_write", EDQUOT, "507"},
        {"file_write", EFBIG, "507"}, {"file_write", EIO, "503"},
    };
    aw_config config = quiet_config();
    char *body = (char *)malloc(200000);
    size_t n = file_part(body, "f", 150000);
    aw_test *t;
    directory_open();
    config.upload_dir = directory;
    n += (size_t)sprintf(body + n, "--B--");
    t = app_with(forms, &config);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        NOTE("%s, %s", rows[i].call, strerror(rows[i].error));
        said[0] = 0;
        fault_set(rows[i].call, i == 2 ? 3 : 1, rows[i].error);
        CHECK_STR(rows[i].want, post_form(t, "/", body, n, 0));
        fault_set(NULL, 0, 0);
        CHECK(strstr(said, "upload") != NULL);
    }
    CHECK_EQ(0, aw_test_close(t));
    directory_close();
    NOTE("no such directory");
    config.upload_dir = "/nonexistent/asyncweb";
    t = app_with(forms, &config);
    CHECK_STR("503", post_form(t, "/", body, n, 0));
    CHECK(strstr(said, "no such file") != NULL);
    CHECK_EQ(0, aw_test_close(t));
    free(body);
}

static void same_bytes(const char *name, size_t n)
{
    char path[200], *got = (char *)malloc(n + 1);
    FILE *f;
    size_t have;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    f = fopen(path, "rb");
    CHECK(f != NULL);
    have = f ? fread(got, 1, n + 1, f) : 0;
    CHECK_EQ(n, have);
    for (size_t i = 0; i < have; i++)
        if (got[i] != (char)('a' + i % 26)) CHECK_EQ(-1, i), have = 0;
    if (f) fclose(f);
    CHECK_EQ(0, unlink(path));
    free(got);
}

TEST(files_are_saved)
{
    aw_config config = quiet_config();
    char *body = (char *)malloc(300000), path[200];
    aw_test *t;
    directory_open();
    config.upload_dir = directory;      /* the same file system: linked */
    t = app_with(forms, &config);
    for (int i = 0; i < 4; i++) {       /* memory; disk; disk, with another */
        size_t size = i == 0 ? 100 : i == 3 ? 0 : 150000;
        size_t n = file_part(body, "f", size);
        NOTE("way %d", i);
        if (i == 2) n += file_part(body + n, "g", 70000);
        n += (size_t)sprintf(body + n, "--B--");
        CHECK_STR("204", post_form(t, "/save", body, n, 0));
        CHECK_EQ(0, saved[0]);
        CHECK_EQ(AW_EEXIST, saved[1]);
        CHECK_EQ(0, saved[2]);
        CHECK_EQ(1, names_in(directory));
        same_bytes("f.bin", size);
    }
    NOTE("errors");
    {
        static const struct { const char *call; int error, first, last; }
        rows[] = {
            /* No links here: the name is claimed. */
            {"file_link", EPERM, 0, 0},
            {"file_link", EIO, AW_EIO, 0},
            {"file_open", EMFILE, AW_EMFILE, 0},
            {"file_rename", EACCES, 0, AW_EACCES},
        };
        size_t n = file_part(body, "f", 150000);
        n += file_part(body + n, "g", 70000);
        n += (size_t)sprintf(body + n, "--B--");
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            NOTE("%s, %s", rows[i].call, strerror(rows[i].error));
            /* The upload's own file is opened first. */
            fault_set(rows[i].call, i == 2 ? 2 : 1, rows[i].error);
            CHECK_STR("204", post_form(t, "/save", body, n, 0));
            fault_set(NULL, 0, 0);
            CHECK_EQ(rows[i].first, saved[0]);
            if (rows[i].last) CHECK_EQ(rows[i].last, saved[2]);
            CHECK_EQ(i == 2 ? 0 : 1, names_in(directory));
            snprintf(path, sizeof path, "%s/f.bin", directory);
            (void)unlink(path);
        }
        NOTE("no space in the middle of a copy");
        fault_set("file_write", 12, ENOSPC);    /* 9: the upload itself */
        CHECK_STR("204", post_form(t, "/save", body, n, 65000));
        CHECK(fault_count >= 12);
        fault_set(NULL, 0, 0);
        CHECK_EQ(AW_ENOSPC, saved[0]);
        CHECK_EQ(0, names_in(directory));
    }
    CHECK_EQ(0, aw_test_close(t));
    directory_close();
    free(body);
}

TEST(saving_where_it_cannot_be)
{
    char name[1100], *bytes = (char *)malloc(4);
    aw_file f;
    memset(&f, 0, sizeof f);
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = 0;
    memcpy(bytes, "abc", 4);
    f.bytes = bytes;
    f.size = 3;
    directory_open();
    CHECK_EQ(AW_EINVAL, aw_file_save(NULL, "x"));
    CHECK_EQ(AW_EINVAL, aw_file_save(&f, NULL));
    CHECK_EQ(AW_EINVAL, aw_file_save(&f, ""));
    CHECK_EQ(AW_EINVAL, aw_file_save(&f, name));
    CHECK_EQ(AW_ENOENT, aw_file_save(&f, "/nonexistent/asyncweb/x"));
    CHECK_EQ(AW_EEXIST, aw_file_save(&f, directory));
    CHECK_EQ(AW_EEXIST, aw_file_replace(&f, directory));
    CHECK_EQ(AW_EINVAL, aw_file_read(&f, -1, name, 1));
    CHECK_EQ(0, aw_file_read(&f, 3, name, 1));
    CHECK_EQ(0, aw_file_read(&f, INT64_MAX, name, 1));
    CHECK_EQ(2, aw_file_read(&f, 1, name, sizeof name));
    directory_close();
    free(bytes);
}

/* The client leaves in the middle of a file: nothing is left. */
TEST(a_client_that_leaves)
{
    aw_config config = quiet_config();
    char *body = (char *)malloc(300000);
    size_t n = file_part(body, "f", 200000), head;
    aw_test *t;
    char top[200];
    directory_open();
    config.upload_dir = directory;
    t = app_with(forms, &config);
    for (int i = 0; i < 3; i++) {
        wire w = wire_open(t);
        head = (size_t)snprintf(top, sizeof top,
            "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\n"
            "Content-Length: %lu\r\n\r\n",
            i == 2 ? "/swallow" : "/slow", form_B, (unsigned long)n + 5);
        wire_send(&w, top, head);
        wire_send(&w, body, i == 1 ? n : 100000);
        if (i == 1) wire_say(&w, "--B--");
        wire_settle(&w);
        wire_close(&w);
        CHECK_EQ(0, names_in(directory));
    }
    CHECK_EQ(0, aw_test_close(t));
    directory_close();
    free(body);
}

/* Whatever allocation fails: an answer, and nothing lost. */
TEST(forms_without_memory)
{
    aw_config config = quiet_config();
    char *body = (char *)malloc(10000);
    size_t n = 0;
    bool reached = true;
    config.file_memory = 1000;
    n += (size_t)sprintf(body, "%s", B D("a") "\r\n1\r\n");
    n += file_part(body + n, "b", 900);
    n += file_part(body + n, "c", 2000);
    n += (size_t)sprintf(body + n, "--B--");
    for (long k = 2; reached || k % 2; k++) {
        aw_test *t = app_with(forms, &config);
        const char *got;
        NOTE("allocation %ld", k / 2);
        fault_set(NULL, k / 2, 0);
        got = post_form(t, k % 2 ? "/parts" : "/", body, n, 700);
        NOTE("allocation %ld: %.20s", k / 2, got);
        reached = fault_count >= k / 2;
        fault_set(NULL, 0, 0);
        /* 408: the client had no memory for the rest of what it sends. */
        CHECK(!reached || strncmp(got, "200", 3) == 0 || !got[0] ||
              strncmp(got, "50", 2) == 0 || strncmp(got, "408", 3) == 0);
        CHECK_EQ(0, aw_test_close(t));
    }
    free(body);
}

#endif

#ifndef ASYNCWEB_NO_COOKIES

/* ---- cookies ---- */

static const char *cookie(const char *field, const char *name)
{
    static char out[200];
    size_t n = strlen(field);
    char *p = block(field, n);
    aw_slice value;
    bool found = aw__cookie_find(aw__slice(p, n), name, &value);
    snprintf(out, sizeof out, "%.*s", found ? (int)value.n : 1,
             found ? value.p : "-");
    free(p);
    return out;
}

TEST(cookies_are_found)     /* 6265bis 4.2, 5.7, 5.8.3 */
{
    CHECK_STR("1", cookie("a=1", "a"));
    CHECK_STR("2", cookie("a=1; b=2; c=3", "b"));
    CHECK_STR("3", cookie("a=1; b=2; c=3", "c"));
    CHECK_STR("1", cookie("a=1; a=2", "a"));
    CHECK_STR("2", cookie("a=1;b=2", "b"));
    CHECK_STR("2", cookie(" a = 1 ;\tb =\t2 ", "b"));
    CHECK_STR("", cookie("a=", "a"));
    CHECK_STR("b=c==", cookie("a=b=c==", "a"));
    CHECK_STR("\"1\"", cookie("a=\"1\"", "a"));
    CHECK_STR("1", cookie("a=1;;; ;", "a"));
    CHECK_STR("x y,\xe4", cookie("a=x y,\xe4", "a"));
    CHECK_STR("-", cookie("a=1", "A"));
    CHECK_STR("-", cookie("ab=1", "a"));
    CHECK_STR("-", cookie("a=1", "ab"));
    CHECK_STR("-", cookie("a", "a"));
    CHECK_STR("-", cookie("", "a"));
    CHECK_STR("-", cookie("=a=1", "a"));
    CHECK_STR("-", cookie("b=\"; c\"; x=a=1", "a"));
    CHECK_STR("1", cookie("b=\"; a=1; c\"", "a"));  /* 5.7: ; always splits */
}

static const char *written(aw_cookie_config c)
{
    static char out[300];
    aw__buf b;
    int rc;
    memset(&b, 0, sizeof b);
    rc = aw__cookie_write(&b, &c);
    snprintf(out, sizeof out, "%s", rc == AW_OK ? b.p
             : rc == AW_EINVAL ? "EINVAL" : rc == AW_ETOOBIG ? "ETOOBIG"
             : rc == AW_ENOMEM ? "ENOMEM" : "?");
    aw__buf_free(&b);
    return out;
}

#define WRITTEN(...) written((aw_cookie_config){.name = __VA_ARGS__})

TEST(cookies_are_written)   /* 6265bis 4.1.1 */
{
    CHECK_STR("a=1; Path=/", WRITTEN("a", "1"));
    CHECK_STR("a=; Path=/", WRITTEN("a", ""));
    CHECK_STR("a=\"1\"; Path=/", WRITTEN("a", "\"1\""));
    CHECK_STR("a=!#$%&'()*+-./:<=>?@[]^_`{|}~; Path=/",
              WRITTEN("a", "!#$%&'()*+-./:<=>?@[]^_`{|}~"));
    CHECK_STR("a=1; Path=/x; Domain=b.example; Max-Age=60; Secure; HttpOnly; "
              "SameSite=Lax",
              WRITTEN("a", "1", .path = "/x", .max_age = 60, .http_only = true,
                      .secure = true, .same_site = "Lax",
                      .domain = "b.example"));
    CHECK_STR("a=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
              WRITTEN("a", "", .max_age = AW_OFF));
    CHECK_STR("a=1; Path=/; Max-Age=9223372036854775807",
              WRITTEN("a", "1", .max_age = INT64_MAX));
    CHECK_STR("a=1; Path=/; Secure; SameSite=none",
              WRITTEN("a", "1", .secure = true, .same_site = "none"));
    CHECK_STR("__Host-a=1; Path=/; Secure",
              WRITTEN("__Host-a", "1", .secure = true));
    CHECK_STR("__Secure-a=1; Path=/x; Domain=b; Secure",
              WRITTEN("__Secure-a", "1", .path = "/x", .secure = true,
                      .domain = "b"));
}

TEST(cookies_that_no_browser_takes)
{
    static const char *const names[] = {"", "a b", "a=", "a;", "\xe4", "a\n",
                                        "\"a\"", NULL};
    static const char *const values[] = {" ", "a b", "a,", "a;", "a\"", "\"",
                                         "\"a", "a\\", "\xe4", "a\r\nX: y",
                                         "\x7f", "\"a\"b\"", NULL};
    static const char *const paths[] = {"", "x", "/;", "/\n", "/\xe4", "/ "};
    static const char *const sites[] = {"", "lax;", "Laxx", "non"};
    static const char *const domains[] = {"", "a;b", "a b", "a/b", "\n"};
    char *big = (char *)malloc(4098);
    size_t i;
    memset(big, 'a', 4097);
    for (i = 0; i < sizeof names / sizeof *names; i++)
        CHECK_STR("EINVAL", WRITTEN(names[i], "1"));
    for (i = 0; i < sizeof values / sizeof *values; i++)
        CHECK_STR("EINVAL", WRITTEN("a", values[i]));
    for (i = 0; i < sizeof paths / sizeof *paths; i++)
        CHECK_STR("EINVAL", WRITTEN("a", "1", .path = paths[i]));
    for (i = 0; i < sizeof sites / sizeof *sites; i++)
        CHECK_STR("EINVAL", WRITTEN("a", "1", .secure = true,
                                    .same_site = sites[i]));
    for (i = 0; i < sizeof domains / sizeof *domains; i++)
        CHECK_STR("EINVAL", WRITTEN("a", "1", .domain = domains[i]));
    CHECK_STR("EINVAL", WRITTEN("a", "1", .same_site = "None"));
    CHECK_STR("EINVAL", WRITTEN("__Secure-a", "1"));
    CHECK_STR("EINVAL", WRITTEN("__host-a", "1"));
    CHECK_STR("EINVAL", WRITTEN("__Host-a", "1", .secure = true, .path = "/x"));
    CHECK_STR("EINVAL", WRITTEN("__Host-a", "1", .secure = true,
                                .domain = "a.b"));
    big[4097] = 0;
    CHECK_STR("ETOOBIG", WRITTEN("a", big));
    big[4096] = 0;
    CHECK_STR("ETOOBIG", WRITTEN("a", big));
    big[4095] = 0;
    CHECK(strncmp("a=aaa", WRITTEN("a", big), 5) == 0);
    fault_set(NULL, 1, 0);
    CHECK_STR("ENOMEM", WRITTEN("a", "1"));
    fault_set(NULL, 0, 0);
    free(big);
}

/* ---- in an application ---- */

/* The values of all header fields of that name, with | between them. */
static const char *fields_of(const aw_response *r, const char *name)
{
    static char out[600];
    size_t at = 0;
    out[0] = 0;
    for (const aw_header_field *h = r->headers; h && h->name; h++)
        if (aw__slice_ieq(aw__slice(h->name, strlen(h->name)), name))
            at += (size_t)snprintf(out + at, sizeof out - at, "%s%s",
                                   at ? "|" : "", h->value);
    return out;
}

VIEW(shown)
{
    const char *sid = aw_cookie(req, "sid");
    return aw_text(req, sid ? sid : "none");
}

VIEW(cookies_set)
{
    CHECK_EQ(0, aw_set_cookie(req, "sid", "s1", .max_age = 60,
                              .http_only = true, .same_site = "Lax"));
    CHECK_EQ(0, aw_set_cookie(req, "theme", "dark"));
    CHECK_EQ(AW_EINVAL, aw_set_cookie(req, "a", "b c"));
    CHECK_EQ(AW_EINVAL, aw_set_cookie(req, NULL, "b"));
    CHECK_EQ(AW_EINVAL, aw_set_cookie(req, "a", NULL));
    return aw_redirect(req, "/");
}

VIEW(cookies_drop)
{
    CHECK_EQ(0, aw_delete_cookie(req, "sid"));
    CHECK_EQ(0, aw_delete_cookie(req, "__Host-x"));
    CHECK_EQ(0, aw_delete_cookie(req, "theme", .path = "/x", .domain = "d"));
    CHECK_EQ(AW_EINVAL, aw_delete_cookie(req, ""));
    return aw_error(req, 403, NULL);    /* cookies stay on the standard page */
}

VIEW(basic)
{
    const char *user, *password;
    if (!aw_basic_auth(req, &user, &password)) {
        CHECK(!user && !password);
        return aw_ask_auth(req, "the \"vault\" \\");
    }
    return aw_printf(req, "%s/%s", user, password);
}

VIEW(bearer)
{
    const char *token = aw_bearer(req);
    CHECK_EQ(AW_EINVAL, aw_ask_auth(req, "a\nb"));
    CHECK_EQ(AW_EINVAL, aw_ask_auth(req, NULL));
    return token ? aw_text(req, token) : 401;
}

static aw_cors_config cors;

VIEW(shared)
{
    int rc = aw_cors(req, &cors);
    return rc ? rc : aw_text(req, "data");
}

ROUTES(shop,
    GET("/", shown), GET("/login", cookies_set), GET("/logout", cookies_drop),
    GET("/basic", basic), GET("/bearer", bearer), ANY("/shared", shared))

TEST(cookies_of_requests_and_answers)
{
    static const aw_header_field one[] = {{"Cookie", "a=b; sid=7"},
                                          {NULL, NULL}};
    static const aw_header_field two[] = {{"Cookie", "a=b"}, {"Cookie", "x=1"},
                                          {"cookie", "sid=8"}, {NULL, NULL}};
    aw_config config = quiet_config();
    aw_test *t = app_with(shop, &config);
    CHECK_STR("none", ask(t, NULL, "/", NULL, NULL)->body);
    CHECK_STR("7", ask(t, NULL, "/", NULL, one)->body);
    CHECK_STR("8", ask(t, NULL, "/", NULL, two)->body);
    CHECK_STR("sid=s1; Path=/; Max-Age=60; HttpOnly; SameSite=Lax|"
              "theme=dark; Path=/",
              fields_of(ask(t, NULL, "/login", NULL, NULL), "Set-Cookie"));
#define GONE "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    CHECK_STR("sid=; Path=/; " GONE "|__Host-x=; Path=/; " GONE "; Secure|"
              "theme=; Path=/x; Domain=d; " GONE,
              fields_of(ask(t, NULL, "/logout", NULL, NULL), "Set-Cookie"));
    CHECK_EQ(0, aw_test_close(t));
}

static const char *auth(aw_test *t, const char *target, const char *value)
{
    static char out[200];
    aw_header_field h[2] = {{"Authorization", NULL}, {NULL, NULL}};
    const aw_response *r;
    h[0].value = value;
    r = ask(t, NULL, target, NULL, h);
    snprintf(out, sizeof out, "%.100s", r->status == 200 ? r->body
             : r->status == 401 ? "401" : "?");
    return out;
}

TEST(basic_credentials)     /* RFC 7617 2 */
{
    static const aw_header_field twice[] = {
        {"Authorization", "Basic YTpi"}, {"Authorization", "Basic YTpi"},
        {NULL, NULL}
    };
    aw_config config = quiet_config();
    aw_test *t = app_with(shop, &config);
    const aw_response *r = ask(t, NULL, "/basic", NULL, NULL);
    CHECK_EQ(401, r->status);
    CHECK_STR("Basic realm=\"the \\\"vault\\\" \\\\\", charset=\"UTF-8\"",
              fields_of(r, "WWW-Authenticate"));
    CHECK_STR("Aladdin/open sesame",
              auth(t, "/basic", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    CHECK_STR("a/b", auth(t, "/basic", "bASIC YTpi"));
    CHECK_STR("a/b", auth(t, "/basic", "Basic   YTpi"));
    CHECK_STR("/", auth(t, "/basic", "Basic Og=="));
    CHECK_STR("a/b:c", auth(t, "/basic", "Basic YTpiOmM="));
    CHECK_STR("401", auth(t, "/basic", "Basic"));
    CHECK_STR("401", auth(t, "/basic", "Basic YTpi YTpi"));
    CHECK_STR("401", auth(t, "/basic", "BasicYTpi"));
    CHECK_STR("401", auth(t, "/basic", "Basic YWI="));      /* no colon */
    CHECK_STR("401", auth(t, "/basic", "Basic YTpi="));
    CHECK_STR("401", auth(t, "/basic", "Basic Og"));
    CHECK_STR("401", auth(t, "/basic", "Basic YTo-_w=="));
    CHECK_STR("401", auth(t, "/basic", "Basic YToA"));      /* NUL */
    CHECK_STR("401", auth(t, "/basic", "Basic YQo6Yg=="));  /* LF */
    CHECK_STR("401", auth(t, "/basic", "Bearer YTpi"));
    CHECK_EQ(401, ask(t, NULL, "/basic", NULL, twice)->status);
    CHECK_EQ(0, aw_test_close(t));
}

TEST(bearer_tokens)         /* RFC 6750 2.1 */
{
    aw_config config = quiet_config();
    aw_test *t = app_with(shop, &config);
    CHECK_STR("mF_9.B5f-4.1JqM", auth(t, "/bearer", "Bearer mF_9.B5f-4.1JqM"));
    CHECK_STR("a~+/==", auth(t, "/bearer", "bearer a~+/=="));
    CHECK_STR("401", auth(t, "/bearer", "Bearer"));
    CHECK_STR("401", auth(t, "/bearer", "Bearer ="));
    CHECK_STR("401", auth(t, "/bearer", "Bearer a b"));
    CHECK_STR("401", auth(t, "/bearer", "Bearer a=b"));
    CHECK_STR("401", auth(t, "/bearer", "Bearer a,b"));
    CHECK_STR("401", auth(t, "/bearer", "Basic YTpi"));
    CHECK_EQ(0, aw_test_close(t));
}

TEST(same_secret)
{
    CHECK(aw_same_secret("", ""));
    CHECK(aw_same_secret("secret", "secret"));
    CHECK(!aw_same_secret("secre", "secret"));
    CHECK(!aw_same_secret("secrets", "secret"));
    CHECK(!aw_same_secret("secretsecret", "secret"));
    CHECK(!aw_same_secret("Secret", "secret"));
    CHECK(!aw_same_secret("secreT", "secret"));
    CHECK(!aw_same_secret("", "secret"));
    CHECK(!aw_same_secret("secret", ""));
    CHECK(!aw_same_secret(NULL, "secret"));
    CHECK(!aw_same_secret("secret", NULL));
    CHECK(!aw_same_secret(NULL, NULL));
}

/* ---- CORS (Fetch, "CORS protocol") ---- */

/* "status origin/credentials/exposed/methods/headers/age vary" */
static const char *cors_of(aw_test *t, const char *method, const char *origin,
                           const char *wanted)
{
    static const char *const names[] = {
        "Origin", "Credentials", "X", "Methods", "Headers"
    };
    static char out[600];
    aw_header_field h[3] = {{NULL, NULL}, {NULL, NULL}, {NULL, NULL}};
    const aw_response *r;
    int n = 0;
    size_t at;
    if (origin) h[n].name = "Origin", h[n++].value = origin;
    if (wanted) h[n].name = "Access-Control-Request-Method",
        h[n].value = wanted;
    r = ask(t, method, "/shared", NULL, h);
    at = (size_t)snprintf(out, sizeof out, "%d ", r->status);
    for (size_t i = 0; i < 5; i++) {
        char name[60];
        snprintf(name, sizeof name, i == 2 ? "Access-Control-Expose-Headers"
                 : "Access-Control-Allow-%s", names[i]);
        at += (size_t)snprintf(out + at, sizeof out - at, "%s/",
                               fields_of(r, name));
    }
    at += (size_t)snprintf(out + at, sizeof out - at, "%s ",
                           fields_of(r, "Access-Control-Max-Age"));
    snprintf(out + at, sizeof out - at, "%s", fields_of(r, "Vary"));
    return out;
}

TEST(cors_of_some_origins)
{
    aw_config config = quiet_config();
    aw_test *t = app_with(shop, &config);
    memset(&cors, 0, sizeof cors);
    cors.origins = "https://a.example, http://b.example:8080";
    cors.methods = "GET, PUT";
    cors.headers = "Content-Type";
    cors.exposed = "X-Total";
    cors.credentials = true;
    cors.max_age = 600;
    CHECK_STR("200 ///// Origin", cors_of(t, "GET", NULL, NULL));
    CHECK_STR("200 https://a.example/true/X-Total/// Origin",
              cors_of(t, "GET", "https://a.example", NULL));
    CHECK_STR("200 http://b.example:8080/true/X-Total/// Origin",
              cors_of(t, "PUT", "http://b.example:8080", NULL));
    CHECK_STR("204 https://a.example/true//GET, PUT/Content-Type/600 Origin",
              cors_of(t, "OPTIONS", "https://a.example", "PUT"));
    CHECK_STR("204 ///// Origin", cors_of(t, "OPTIONS", "https://c", "PUT"));
    /* No preflight: OPTIONS goes on to the view. */
    CHECK_STR("200 https://a.example/true/X-Total/// Origin",
              cors_of(t, "OPTIONS", "https://a.example", NULL));
    CHECK_STR("200 ///// Origin", cors_of(t, "OPTIONS", NULL, "PUT"));
    for (int i = 0; i < 8; i++) {
        static const char *const others[] = {
            "https://a.example.evil", "https://a.exampl", "HTTPS://a.example",
            "http://a.example", "null", "*", "https://a.example, x",
            "https://a.example:443"
        };
        NOTE("%s", others[i]);
        CHECK_STR("200 ///// Origin", cors_of(t, "GET", others[i], NULL));
    }
    CHECK_EQ(0, aw_test_close(t));
}

TEST(cors_of_any_origin)
{
    aw_config config = quiet_config();
    aw_test *t = app_with(shop, &config);
    memset(&cors, 0, sizeof cors);
    cors.origins = "*";
    CHECK_STR("200 ///// ", cors_of(t, "GET", NULL, NULL));
    CHECK_STR("200 *///// ", cors_of(t, "GET", "https://a", NULL));
    CHECK_STR("200 *///// ", cors_of(t, "GET", "null", NULL));
    CHECK_STR("204 *///// ", cors_of(t, "OPTIONS", "https://a", "PUT"));
    cors.credentials = true;
    CHECK_STR("500 ///// ", cors_of(t, "GET", "https://a", NULL));
    CHECK_STR("500 ///// ", cors_of(t, "GET", NULL, NULL));
    cors.credentials = false;
    cors.origins = "https://a, *";
    CHECK_STR("500 ///// ", cors_of(t, "GET", "https://a", NULL));
    cors.origins = NULL;
    CHECK_STR("200 ///// Origin", cors_of(t, "GET", "https://a", NULL));
    cors.origins = "*";
    cors.exposed = "a\nb";
    CHECK_EQ(500, ask(t, NULL, "/shared", NULL, (const aw_header_field[])
             {{"Origin", "https://a"}, {NULL, NULL}})->status);
    CHECK_EQ(0, aw_test_close(t));
}

VIEW(share) { return aw_cors(req, &cors); }

ROUTES(api, BEFORE(share), GET("/items", shown))

/* As a hook: what no view answers is shared as well. */
TEST(cors_before_all_routes)
{
    static const aw_header_field preflight[] = {
        {"Origin", "https://a"}, {"Access-Control-Request-Method", "DELETE"},
        {NULL, NULL}
    };
    static const struct { const char *method, *target; int status; } rows[] = {
        {"GET", "/items", 200}, {"OPTIONS", "/items", 204},
        {"OPTIONS", "/nothing", 204}, {"POST", "/items", 405},
        {"GET", "/nothing", 404}
    };
    aw_config config = quiet_config();
    aw_test *t = app_with(api, &config);
    memset(&cors, 0, sizeof cors);
    cors.origins = "https://a";
    cors.methods = "GET, DELETE";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const aw_response *r = ask(t, rows[i].method, rows[i].target, NULL,
                                   preflight);
        NOTE("%s %s", rows[i].method, rows[i].target);
        CHECK_EQ(rows[i].status, r->status);
        CHECK_STR("https://a", fields_of(r, "Access-Control-Allow-Origin"));
        CHECK_STR(*rows[i].method == 'O' ? "GET, DELETE" : "",
                  fields_of(r, "Access-Control-Allow-Methods"));
    }
    CHECK_EQ(0, aw_test_close(t));
}

/* Whatever allocation fails: an answer, and nothing lost. */
TEST(cookies_without_memory)
{
    static const char *const targets[] = {"/", "/basic", "/shared"};
    static const aw_header_field h[] = {
        {"Cookie", "sid=7"}, {"Authorization", "Basic YTpi"},
        {"Origin", "https://a"}, {NULL, NULL}
    };
    aw_config config = quiet_config();
    memset(&cors, 0, sizeof cors);
    cors.origins = "https://a";
    for (size_t i = 0; i < 3; i++) {
        bool reached = true;
        for (long k = 1; reached; k++) {
            aw_test *t = app_with(shop, &config);
            NOTE("%s, allocation %ld", targets[i], k);
            fault_set("alloc", k, 0);
            (void)ask(t, NULL, targets[i], NULL, h);
            reached = fault_count >= k;
            fault_set(NULL, 0, 0);
            CHECK_EQ(0, aw_test_close(t));
        }
    }
}
#endif
