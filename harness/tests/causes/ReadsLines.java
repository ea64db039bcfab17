// A correct echo server with one thread per client. Its heap grows, but it buffers no replies.
// check: --service echo
// cases: framing/single back-pressure/ leaks/memory idle/
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

public class ReadsLines {
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

    static void serve(Socket client) {
        try (client) {
            BufferedReader reader = new BufferedReader(
                    new InputStreamReader(client.getInputStream(), StandardCharsets.ISO_8859_1));
            Writer writer = new OutputStreamWriter(
                    client.getOutputStream(), StandardCharsets.ISO_8859_1);
            StringBuilder line = new StringBuilder();
            for (int next = reader.read(); next >= 0; next = reader.read()) {
                if (next != '\n') {
                    line.append((char) next);
                    continue;
                }
                if (line.length() > 0 && line.charAt(line.length() - 1) == '\r') {
                    line.setLength(line.length() - 1);
                }
                writer.write(line.toString() + "\n");
                writer.flush();
                line = new StringBuilder();
            }
            if (line.length() > 0) {
                writer.write(line.toString() + "\n");
                writer.flush();
            }
        } catch (java.io.IOException error) {
            // The client has reset.
        }
    }
}
