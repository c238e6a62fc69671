# tickcast in an image of its own: `docker build -t tickcast .`, then `docker run -p 3000:3000 tickcast`.

# The client libraries that the server hosts, as `make vendor` fetches them.
FROM node:20-bookworm-slim AS libraries
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts
RUN mkdir vendor && cd node_modules/socket.io-client/dist \
 && for name in socket.io socket.io.min socket.io.esm.min; do cp $name.js $name.js.map /build/vendor/; done \
 && cp ../../lightweight-charts/dist/lightweight-charts.standalone.production.mjs /build/vendor/lightweight-charts.js

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# Everything that others wrote, in a layer that stays until Cargo.lock changes: built for a program that does nothing.
# The load tester and its peers are only named: they belong to the workspace, and are not built.
COPY Cargo.toml Cargo.lock ./
COPY loadtest/Cargo.toml loadtest/
COPY loadtest/peers/floor/Cargo.toml loadtest/peers/floor/
COPY loadtest/peers/rooms/Cargo.toml loadtest/peers/rooms/
RUN for folder in . loadtest loadtest/peers/floor loadtest/peers/rooms; do mkdir $folder/src && touch $folder/src/lib.rs; done \
 && echo 'fn main() {}' > src/main.rs \
 && cargo build --release --locked
COPY build.rs ./
COPY src src
COPY static static
COPY --from=libraries /build/vendor static/vendor
# Cargo goes by times, and these files may be older than the program that does nothing.
RUN touch src/lib.rs src/main.rs && cargo build --release --locked

FROM debian:bookworm-slim
# Redis and others that are spoken to over TLS prove who they are with these.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /build/target/release/tickcast /usr/local/bin/
# Nobody in particular, by number: so that it can be seen not to be root. It writes nothing: `--read-only` is fine.
USER 10001:10001
# The log is read by programs.
ENV NO_COLOR=1
EXPOSE 3000
# It ends within DRAIN_DEADLINE (10 s, as long as Docker waits): for more, `--stop-timeout`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["tickcast", "healthcheck"]
ENTRYPOINT ["tickcast"]
