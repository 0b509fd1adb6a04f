# run by: /usr/bin/gpgv-static --version
# package: gpgv-static
