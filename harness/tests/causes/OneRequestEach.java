// Sends the first line of each client back in capital letters. Then it forgets the client, and never
// closes the connection.
// check: probed
// cases: framing/single results/ wire/requests-per-connection
// probe: transform = "upper"
// probe: requests-per-connection = 1
// probe: shutdown = "abort"
// fault: The server does not close the connection when a client has sent the last request of a connection
// also: The server does not close the connection when a client has shut down its sending side
// also: The server exits when it has no free descriptor
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;

public class OneRequestEach {
    public static void main(String[] arguments) throws IOException {
        InetAddress host = InetAddress.getByName(arguments[0]);
        ServerSocket listener = new ServerSocket(Integer.parseInt(arguments[1]), 128, host);
        // The garbage collector must not close a connection.
        List<Socket> clients = new ArrayList<>();
        while (true) {
            Socket client = listener.accept();
            clients.add(client);
            new Thread(() -> serve(client)).start();
        }
    }

    private static void serve(Socket client) {
        try {
            InputStreamReader bytes = new InputStreamReader(client.getInputStream(), "ISO-8859-1");
            String line = new BufferedReader(bytes).readLine();
            if (line != null) {
                String reply = line.toUpperCase() + "\n";
                client.getOutputStream().write(reply.getBytes("ISO-8859-1"));
            }
        } catch (IOException error) {
            System.err.println(error);
        }
    }
}
