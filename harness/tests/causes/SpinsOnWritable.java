// An echo server with a selector. It always waits for writable sockets, and they always are.
// check: --service echo --shutdown abort
// cases: framing/single idle/connected-clients
// fault: The server spins while its clients are idle: it keeps a CPU busy and does no work
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;

public class SpinsOnWritable {
    static class Client {
        final ByteBuffer input = ByteBuffer.allocate(64 * 1024);
        final ByteBuffer output = ByteBuffer.allocate(64 * 1024);
        boolean ended;
    }

    public static void main(String[] args) throws Exception {
        Selector selector = Selector.open();
        ServerSocketChannel listener = ServerSocketChannel.open();
        listener.bind(new InetSocketAddress(args[0], Integer.parseInt(args[1])), 128);
        listener.configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT);
        while (true) {
            selector.select();
            var keys = selector.selectedKeys().iterator();
            while (keys.hasNext()) {
                SelectionKey key = keys.next();
                keys.remove();
                if (key.isAcceptable()) {
                    try {
                        SocketChannel client = listener.accept();
                        client.configureBlocking(false);
                        int interest = SelectionKey.OP_READ | SelectionKey.OP_WRITE;
                        client.register(selector, interest, new Client());
                    } catch (java.io.IOException error) {
                        // No free descriptor: try again later.
                        Thread.sleep(50);
                    }
                    continue;
                }
                try {
                    serve((SocketChannel) key.channel(), (Client) key.attachment());
                } catch (java.io.IOException error) {
                    key.channel().close();
                }
            }
        }
    }

    static void serve(SocketChannel channel, Client client) throws java.io.IOException {
        if (!client.ended && client.input.hasRemaining()) {
            client.ended = channel.read(client.input) < 0;
        }
        client.input.flip();
        int end = lastLineEnd(client.input);
        if (client.ended && end < client.input.limit()) {
            end = client.input.limit();
        }
        while (client.input.position() < end && client.output.remaining() >= 2) {
            byte next = client.input.get();
            if (next == '\r' && client.input.position() < end
                    && client.input.get(client.input.position()) == '\n') {
                continue;
            }
            client.output.put(next);
            if (client.ended && next != '\n' && client.input.position() == client.input.limit()) {
                client.output.put((byte) '\n');
            }
        }
        client.input.compact();
        client.output.flip();
        channel.write(client.output);
        client.output.compact();
        if (client.ended && client.output.position() == 0 && client.input.position() == 0) {
            channel.close();
        }
    }

    static int lastLineEnd(ByteBuffer input) {
        for (int at = input.limit(); at > 0; at--) {
            if (input.get(at - 1) == '\n') {
                return at;
            }
        }
        return 0;
    }
}
