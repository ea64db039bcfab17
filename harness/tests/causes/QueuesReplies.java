// An echo server whose replies wait in a queue without limit for a thread that sends them.
// check: --service echo
// cases: framing/single back-pressure/never-reads
// fault: A client that sends and never reads makes memory grow without bound
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.LinkedBlockingQueue;

public class QueuesReplies {
    public static void main(String[] args) throws Exception {
        InetAddress host = InetAddress.getByName(args[0]);
        ServerSocket listener = new ServerSocket(Integer.parseInt(args[1]), 128, host);
        while (true) {
            try {
                Socket client = listener.accept();
                new Thread(() -> serve(client)).start();
            } catch (java.io.IOException error) {
                // No free descriptor: try again later.
                Thread.sleep(50);
            }
        }
    }

    /** Ends the queue of a client. */
    static final String END = new String("end");

    static void send(LinkedBlockingQueue<String> replies, Writer writer) {
        try {
            for (String reply = replies.take(); reply != END; reply = replies.take()) {
                writer.write(reply + "\n");
                writer.flush();
            }
        } catch (java.io.IOException | InterruptedException error) {
            // The client has reset.
        }
    }

    static void serve(Socket client) {
        LinkedBlockingQueue<String> replies = new LinkedBlockingQueue<>();
        try (client) {
            BufferedReader reader = new BufferedReader(
                    new InputStreamReader(client.getInputStream(), StandardCharsets.ISO_8859_1));
            Writer writer = new OutputStreamWriter(
                    client.getOutputStream(), StandardCharsets.ISO_8859_1);
            Thread sender = new Thread(() -> send(replies, writer));
            sender.start();
            StringBuilder line = new StringBuilder();
            for (int next = reader.read(); next >= 0; next = reader.read()) {
                if (next != '\n') {
                    line.append((char) next);
                    continue;
                }
                if (line.length() > 0 && line.charAt(line.length() - 1) == '\r') {
                    line.setLength(line.length() - 1);
                }
                replies.add(line.toString());
                line = new StringBuilder();
            }
            if (line.length() > 0) {
                replies.add(line.toString());
            }
            replies.add(END);
            sender.join();
        } catch (java.io.IOException | InterruptedException error) {
            replies.add(END);
        }
    }
}
