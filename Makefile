# What there is to do here. `make demo` first.

PREFIX ?= /usr
SYSCONFDIR ?= /etc
DESTDIR ?=
CARGO ?= cargo

BIN = target/release/mailquotad
SHARE = $(DESTDIR)$(PREFIX)/share
SYSTEMD = $(DESTDIR)$(PREFIX)/lib

.PHONY: help demo build test check bench fuzz install

help:
	@echo "make demo     a small organisation to try things on"
	@echo "make test     every test; installs slapd, Postfix and Dovecot where they are missing (Debian, root)"
	@echo "make check    format, lints, documents, licences, and instruction counts of the hot functions"
	@echo "make bench    the measurements"
	@echo "make fuzz     every fuzz target for a minute (PART, SECONDS); needs a C++ compiler"
	@echo "make install  program, manual pages, completions, unit (PREFIX, DESTDIR)"

demo:
	$(CARGO) run --locked --release -- demo

build:
	$(CARGO) build --locked --release

test:
	tests/install-packages
	$(CARGO) test --locked

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked --test documents --test manuals --test layers --test licences --test config_file --test config_broken \
		--test config_command
	tests/install-packages
	$(CARGO) bench --locked --bench instructions

# All of them, or `make bench PART=policy`; BENCH=quick takes less than two minutes once they are built.
bench:
	tests/install-packages
	$(CARGO) bench --locked $(if $(PART),--bench $(PART),--benches)

fuzz:
	CARGO="$(CARGO)" fuzz/run $(or $(SECONDS),60) $(PART)

install: build
	install -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/mailquotad
	ln -sf mailquotad $(DESTDIR)$(PREFIX)/bin/imquotacheck
	ln -sf mailquotad $(DESTDIR)$(PREFIX)/bin/iminitquota
	install -d $(SHARE)/man/man1
	$(BIN) man $(SHARE)/man/man1
	install -d $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	$(BIN) completions bash > $(SHARE)/bash-completion/completions/mailquotad
	$(BIN) completions zsh > $(SHARE)/zsh/site-functions/_mailquotad
	$(BIN) completions fish > $(SHARE)/fish/vendor_completions.d/mailquotad.fish
	install -D -m 644 packaging/systemd/mailquotad.service $(SYSTEMD)/systemd/system/mailquotad.service
	install -D -m 644 packaging/systemd/mailquotad.sysusers $(SYSTEMD)/sysusers.d/mailquotad.conf
	install -D -m 644 packaging/systemd/mailquotad.tmpfiles $(SYSTEMD)/tmpfiles.d/mailquotad.conf
	install -D -m 644 -t $(SHARE)/doc/mailquotad/mailquotad.service.d packaging/systemd/mailquotad.service.d/*
	install -D -m 644 config/mailquotad.toml $(SHARE)/doc/mailquotad/mailquotad.toml
	for of in postfix exim sendmail dovecot/2.3 dovecot/2.4; do \
		install -D -m 644 -t $(SHARE)/doc/mailquotad/$$of packaging/$$of/*; done
	test -e $(DESTDIR)$(SYSCONFDIR)/mailquotad/mailquotad.toml || \
		install -D -m 640 config/mailquotad.toml $(DESTDIR)$(SYSCONFDIR)/mailquotad/mailquotad.toml
