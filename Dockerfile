# docker build --build-arg DENO_VERSION="$(cat .deno-version)" -t flowgen .
# docker run -p 3000:3000 -p 8081:8081 -v "$PWD/config.yaml:/etc/flowgen/config.yaml:ro" \
#   -v "$PWD/flows:/etc/flowgen/flows:ro" -v flowgen:/data/.flowgen flowgen
ARG DENO_VERSION
FROM denoland/deno:${DENO_VERSION}

# Docker gives a new volume the owner of the folder it is mounted on.
RUN mkdir -p /opt/flowgen /data/.flowgen && chown -R deno:deno /opt/flowgen /data
USER deno

WORKDIR /opt/flowgen
COPY --chown=deno:deno deno.json deno.lock mod.ts ./
COPY --chown=deno:deno src ./src
RUN deno cache --frozen src/main.ts $(find src -name '*.ts' ! -name '*_test.ts' ! -name testing.ts)

# State is kept below the working directory, in .flowgen.
WORKDIR /data
VOLUME /data/.flowgen
EXPOSE 3000 8081
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["deno", "eval", "Deno.exit((await fetch('http://127.0.0.1:8081/livez')).ok ? 0 : 1)"]

# docs/operations.md says what each permission is for.
ENTRYPOINT ["deno", "run", "--config=/opt/flowgen/deno.json", "--frozen", "--cached-only", \
  "--allow-net", "--allow-env", "--allow-sys=hostname", "--allow-read", "--allow-write=/data/.flowgen", \
  "--allow-run=/usr/bin/deno", "/opt/flowgen/src/main.ts"]
CMD ["run", "--config", "/etc/flowgen/config.yaml"]
