# asyncweb.h needs no build. This file runs its examples and its tests.

CC = cc
# Line numbers are what a sanitizer's report needs; for a debugger, CFLAGS=-g.
CFLAGS = -std=c99 -g1 -O0 -Wall -Wextra -Wpedantic
SANITIZE = address,undefined
PORT = 5000
SECONDS = 10

# Programs of each compiler, with and without sanitizers, live side by side.
out := build/$(notdir $(firstword $(CC)))$(if $(SANITIZE),-sanitized)
out := $(out)$(if $(TEST_FULL),-full)
# Checks of every dereference double the time to compile, and a null pointer is
# found without them: TEST_FULL=1, like CI, has all.
fewer := -fno-sanitize=null,alignment,object-size,pointer-overflow
sanitize := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all \
    $(if $(TEST_FULL),,$(fewer)))
# It is the header that takes the time to compile: these share one copy. Each
# can also be made by itself.
groups := http+ws+bodies+edge+ws_client \
    app+app_structure+files+forms+torture+sse+entangled+workers \
    json+formats+streams+client+session+jar+fuzz_seeds \
    core_tasks+core_chaos+core+names
# Only tests/tls.c needs a library; without that it is left out, and said.
bearssl := $(shell mkdir -p $(out); \
    echo 'int main(void) { br_md5_context c; br_md5_init(&c); return 0; }' | \
    $(CC) -include bearssl.h -x c - -o $(out)/try-bearssl -lbearssl \
    2>/dev/null && echo yes)
alone := $(filter-out $(subst +, ,$(groups)) $(if $(bearssl),,tls), \
    $(patsubst tests/%.c,%,$(wildcard tests/*.c)))
programs := $(addprefix $(out)/,$(groups) $(alone))
scripts := $(wildcard tests/examples.sh tests/readme.sh tests/misuse.sh \
    tests/memory.sh)
examples := $(patsubst examples/%.c,build/%,$(wildcard examples/*.c))

# In parallel even when make was called without -j.
cores := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
parallel = $(MAKE) --no-print-directory \
    $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(cores))

help:
	@echo 'make run        build examples/article.c and serve it on port $(PORT)'
	@echo 'make examples   build the examples into build/'
	@echo 'make test       the tests, sanitized (SANITIZE= for a plain build)'
	@echo 'make valgrind   the tests under valgrind'
	@echo 'make matrix     compile with every compiler, standard and option'
	@echo 'make live       many clients, a stop under load, system calls: real time'
	@echo 'make peers      curl, nginx, HAProxy, slow attackers, ...: real programs'
	@echo 'make bench      what it costs, beside its peers, SECONDS=10 a figure'
	@echo 'make memory     what things cost with ASYNCWEB_FIXED_MEMORY'
	@echo 'make fuzz       look for inputs that break it, SECONDS=10 a target'
	@echo 'make coverage   which lines and branches the tests reach'
	@echo 'make house      check the form of asyncweb.h'
	@echo 'make clean      remove build/'

run: build/article
	./build/article $(PORT)

examples:
	+@$(parallel) $(examples)

test:
	+@$(parallel) programs
	@$(if $(bearssl),:,echo 'skip: BearSSL is not installed: no TLS'; \
	    [ "$$CI" != true ])
	@bash tests/run.sh $(scripts) $(programs)

# A child of CHECK_ABORTS ends without freeing anything, and may.
valgrind: export WRAP = valgrind -q --leak-check=full --error-exitcode=9 \
    --suppressions=tests/valgrind.supp --child-silent-after-fork=yes
valgrind:
	+@$(parallel) SANITIZE= programs
	@bash tests/run.sh $(addprefix build/$(notdir $(firstword $(CC)))/,\
	    $(groups) $(alone))

matrix:
	@bash tests/matrix.sh

house:
	@bash tests/house.sh

fuzz:
	@bash tests/fuzz.sh $(SECONDS)

coverage:
	@bash tests/coverage.sh

memory: tls_flags = $(if $(bearssl),-DASYNCWEB_BEARSSL -lbearssl)
memory: $(if $(bearssl),build/certs/done)
	@mkdir -p build
	@$(CC) -std=c99 -O2 -w tests/fixed.c -o build/memory $(tls_flags)
	@MEMORY_TABLE=1 TEST_FULL=1 build/memory -q heap_beyond
	@MEMORY_TABLE=1 build/memory -s 0 -q what_
	@bash tests/memory.sh table

live:
	@bash tests/live.sh

peers:
	@bash tests/peers.sh

bench:
	@bash tests/bench.sh $(SECONDS)

clean:
	rm -rf build

programs: $(programs)

names:
	@echo $(groups) $(alone)

build/%: examples/%.c asyncweb.h
	@mkdir -p build
	$(CC) -O2 -Wall -I. $< -o $@

$(out)/fixed: tests/torture.c
$(out)/fixed: CFLAGS += $(if $(bearssl),-DASYNCWEB_BEARSSL)
$(out)/fixed: $(if $(bearssl),build/certs/done)
$(out)/tls $(if $(bearssl),$(out)/fixed): LDLIBS += -lbearssl
$(out)/tls: build/certs/done

build/certs/done: tests/certs.sh
	@bash tests/certs.sh build/certs

# Threads are watched by their own sanitizer. Those that see what an option
# leaves out have one only with TEST_FULL=1: what they run is in the others.
$(out)/threads: sanitizer = $(if $(SANITIZE),-fsanitize=thread)
$(if $(TEST_FULL),,$(out)/no_log $(out)/one_file): sanitizer =
sanitizer = $$(cat $(out)/flags)

# All targets are compiled at once: the header takes most of the time.
fuzz_files := $(wildcard tests/fuzz/*.[ch])
fuzz_names := $(patsubst tests/fuzz/%.c,%,$(filter %.c,$(fuzz_files)))

build/fuzz/targets.h: always
	@mkdir -p build/fuzz
	@for t in $(fuzz_names); do \
	    echo "#define LLVMFuzzerTestOneInput fuzz_$$t"; \
	    echo "#include \"../../tests/fuzz/$$t.c\""; \
	    echo '#undef LLVMFuzzerTestOneInput'; \
	done >$@.new
	@echo '#define FUZZ_TARGETS(X) $(foreach t,$(fuzz_names),X($t))' >>$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(sort $(out)/fuzz_seeds $(filter %+fuzz_seeds,$(programs))): \
    build/fuzz/targets.h $(fuzz_files)

build/fuzz/all: tests/fuzz_seeds.c build/fuzz/targets.h $(fuzz_files) \
    asyncweb.h
	clang -std=c99 -g -O1 -DFUZZER -fno-sanitize-recover=all \
	    -fsanitize=fuzzer,address,undefined $< -o $@

$(addprefix $(out)/,$(groups)): $(out)/%: $(wildcard tests/*.[ch]) asyncweb.h \
    $(out)/flags
	printf '#include "tests/%s.c"\n' $(subst +, ,$*) | \
	    $(CC) $(CFLAGS) $(sanitizer) -x c - -o $@ $(LDLIBS)

$(out)/%: tests/%.c $(wildcard tests/*.h) asyncweb.h $(out)/flags
	$(CC) $(CFLAGS) $(sanitizer) $< -o $@ $(LDLIBS)

$(out)/flags: Makefile
	@mkdir -p $(out)
	@echo 'int main(void) { return 0; }' >$(out)/try.c
	@if $(CC) $(sanitize) $(out)/try.c -o $(out)/try 2>/dev/null; then \
	    echo '$(sanitize)'; else \
	    echo 'notice: $(CC) has no sanitizers here, going without' >&2; fi >$@

.PHONY: help names run examples test valgrind fuzz coverage matrix live peers \
    memory \
    bench house clean programs always
