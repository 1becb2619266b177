# The container image: the daemon, a configuration, and no shell. docs/containers.md describes it.
#
#   docker build --tag service-center .

# The version that the tests run with. Older ones from rust-version in Cargo.toml on would do.
FROM docker.io/library/rust:1.95-slim-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make protobuf-compiler libprotobuf-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY console console
COPY src src
# The names of functions stay, for back traces; the line tables are five times as large as the program.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
RUN cargo build --locked --release \
    && mkdir --parents /image/bin /image/data \
    && mv target/release/service-center /image/bin/service-center \
    && ln --symbolic service-center /image/bin/scctl

FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="service-center" \
      org.opencontainers.image.description="A microservice registry: the ServiceComb Service-Center API on an embedded store or on etcd" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# The program, and scctl, a link to it: a folder is copied, because a link that is copied alone becomes a second program.
COPY --from=build /image/bin /usr/local/bin
# A new volume takes the owner of this folder.
COPY --from=build --chown=65532:65532 /image/data /var/lib/service-center
COPY LICENSE /usr/share/doc/service-center/LICENSE
COPY conf/app.conf /opt/service-center/conf/app.conf
COPY deploy/container/env /opt/service-center/.env
# The embedded store is used if nothing names an etcd. The log goes to standard output, also with a mounted app.yaml that
# names a file.
ENV REGISTRY_EMBEDDED_DIR=/var/lib/service-center/data \
    LOG_FILE=""
WORKDIR /opt/service-center
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 30100
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["service-center", "check-health"]
ENTRYPOINT ["service-center"]
