// A chat server with a thread per client: it sends each line to all other clients, with a number.
// check: --service echo
// cases: framing/single isolation/
// fault: A client receives what other clients send
// probe: service = "echo"
// probe: broadcast = "others"
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

public class ChatThreads {
    private static final Map<Integer, PrintWriter> clients = new ConcurrentHashMap<>();

    public static void main(String[] arguments) throws IOException {
        int port = Integer.parseInt(arguments[1]);
        try (ServerSocket listener = new ServerSocket(port, 128, InetAddress.getByName(arguments[0]))) {
            for (int number = 1; ; number++) {
                Socket client = listener.accept();
                int id = number;
                new Thread(() -> serve(id, client)).start();
            }
        }
    }

    private static void serve(int id, Socket client) {
        try (client) {
            var input = new InputStreamReader(client.getInputStream(), StandardCharsets.ISO_8859_1);
            var lines = new BufferedReader(input);
            clients.put(id, new PrintWriter(client.getOutputStream(), true, StandardCharsets.ISO_8859_1));
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                for (var other : clients.entrySet()) {
                    if (other.getKey() != id) {
                        other.getValue().println("client " + id + ": " + line);
                    }
                }
            }
        } catch (IOException error) {
            System.err.println(error.getMessage());
        } finally {
            clients.remove(id);
        }
    }
}
