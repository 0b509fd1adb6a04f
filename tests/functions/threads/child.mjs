process.on('message', (number) => process.send(2 * number));
