# The gateway in a container: docker build --tag airudder-gateway .
#
# Nothing secret is in it. Give it the configuration and the secrets as files, and a volume for the inbox:
#
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges --stop-timeout 45 \
#     --volume ./airudder-gateway:/etc/airudder-gateway:ro --volume airudder-inbox:/var/lib/airudder-gateway \
#     --publish 127.0.0.1:8080:8080 airudder-gateway
#
# In a container 127.0.0.1 is the container: listen on 0.0.0.0, and publish what others may reach.

FROM rust:1.95-slim-bookworm AS build
# cmake builds zlib-ng.
RUN apt-get update && apt-get install --yes --no-install-recommends cmake make && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
# The demo's configuration and the simulator's callbacks are a part of the program.
COPY conf/demo.toml conf/
COPY tests/data tests/data
RUN cargo build --locked --release --bin airudder-gateway

FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/airudder-gateway --shell /usr/sbin/nologin airudder-gateway \
    && install --directory --owner=airudder-gateway --group=airudder-gateway --mode=0700 /var/lib/airudder-gateway
COPY --from=build /build/target/release/airudder-gateway /usr/bin/airudder-gateway
COPY packaging/gateway.toml /etc/airudder-gateway/gateway.toml
USER airudder-gateway
WORKDIR /var/lib/airudder-gateway
VOLUME /var/lib/airudder-gateway
EXPOSE 8080 8081 9464
# Calls in flight end within outbound.grace (30 s): let whoever stops it wait for longer.
STOPSIGNAL SIGTERM
# No HEALTHCHECK: an orchestrator asks /livez and /readyz of the admin listener, which is where the configuration says.
ENTRYPOINT ["/usr/bin/airudder-gateway"]
CMD ["run", "--config", "/etc/airudder-gateway/gateway.toml"]
