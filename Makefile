# Thin: each line is what one would type by hand.
.PHONY: demo setup build test proof bench fuzz lint deny

setup:
	scripts/setup

build:
	cargo build --workspace --all-targets

# Kafka, S3 and Redshift on this machine, a stream of clicks with some broken ones, a kill in the middle. A minute, once built.
demo:
	scripts/demo

# Everything, small: unit tests, the ports, and the program against the local stack (kills, zombies, lost commits). One of
# them, once built: cargo test --workspace --test all -- gc::
test: setup build
	cargo test --workspace

# The same with big figures: a million events, 30 kills, 500 stops, two gigabytes behind a closed warehouse. An hour on 2 cores.
proof: setup build
	TIDEGATE_PROOF=1 cargo test --workspace --test model --test graph -- --nocapture --test-threads=1
	TIDEGATE_PROOF=1 cargo test --workspace --test all -- exactly_once:: outage:: stops:: many:: age:: cluster::a_link --nocapture --test-threads=1

# What a record costs on its whole way and in its parts, and what bad records cost: CPU time, as ratios measured in one run.
# The first build takes minutes. JSON=FILE keeps the figures of the first.
bench: setup
	cargo build --release -p tidegate -p tidegate-stack -p tidegate-bench
	cargo run -q --release -p tidegate -p tidegate-stack -p tidegate-bench --bin bench-pipeline -- $(if $(JSON),--json $(JSON))
	cargo run -q --release -p tidegate -p tidegate-stack -p tidegate-bench --bin bench-bad-records

# Ten million mutated records through our JSON decoder and a strict one; RUNS=... for another number.
fuzz:
	fuzz/run.sh json $(RUNS)

# The last but one is the program as users build it, without what comes with the dependencies of tests.
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo check -p tidegate -p tidegate-stack --quiet
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --quiet

# Licences, sources, advisories; needs cargo-deny (cargo install cargo-deny) and its advisory database.
deny:
	cargo deny --all-features check
