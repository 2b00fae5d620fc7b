# syntax=docker/dockerfile:1
# Builds the executable from the sources and puts nothing else into the image.
#   docker build -t pgsync .
#   docker run -v "$PWD/schema.yaml:/etc/pgsync/schema.yaml:ro" -v pgsync:/var/lib/pgsync -e PG_URL=… -e ELASTICSEARCH_URL=… pgsync
FROM node:22-bookworm-slim AS build
WORKDIR /src
# The dependencies first: they change less often than the sources.
COPY deno.json deno.lock ./
RUN npx -y deno@2.9.6 install --frozen
COPY . .
RUN npx -y deno@2.9.6 task build && mkdir /state

# The executable needs glibc and nothing else.
FROM debian:bookworm-slim
COPY --from=build /src/dist/pgsync /usr/local/bin/pgsync
COPY --from=build --chown=65532:65532 /state /var/lib/pgsync
# The checkpoint file lives here: keep it on a volume.
VOLUME /var/lib/pgsync
WORKDIR /var/lib/pgsync
ENV SCHEMA=/etc/pgsync/schema.yaml \
    CHECKPOINT_PATH=/var/lib/pgsync \
    PGSYNC_LISTEN=0.0.0.0:9399
EXPOSE 9399
# SIGTERM flushes and stores the position; `docker stop` sends it and waits 10 s.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["/usr/local/bin/pgsync", "status", "--url", "http://127.0.0.1:9399"]
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/pgsync"]
CMD ["--daemon", "--bootstrap"]
