# dia in a container: `docker build -t dia .`; `docker-compose.yml` runs the whole set.
FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make python3 python3-pip unzip && rm -rf /var/lib/apt/lists/*
# PDFium comes in a wheel (BSD-3-Clause and Apache-2.0).
RUN python3 -m pip download --quiet --no-deps --only-binary :all: --dest /pdfium pypdfium2==5.15.2 \
 && unzip -q -j /pdfium/*.whl '*/libpdfium.so' -d /pdfium
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package dia && strip --strip-debug target/release/dia

FROM debian:bookworm-20250407-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl tesseract-ocr && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/dia --shell /usr/sbin/nologin dia \
 && install -d -o dia -g dia -m 0700 /var/lib/dia
COPY --from=build /src/target/release/dia /usr/local/bin/dia
COPY --from=build /pdfium/libpdfium.so /usr/local/lib/libpdfium.so
USER 10001
ENV DIA_DATA__DIRECTORY=/var/lib/dia DIA_PDFIUM_LIBRARY=/usr/local/lib/libpdfium.so DIA_API__LISTEN=0.0.0.0:8080 DIA_LOG__FORMAT=json
VOLUME /var/lib/dia
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/dia"]
CMD ["serve"]
