// A calculator whose operators are letters: A, S, M and D. A manifest describes them.
// check: probed
// cases: framing/single results/ malformed/ isolation/no-broadcast
// probe: operators = "+-*/"
// probe: symbols = "ASMD"
// probe: spaced = true
// probe: shape = "two-operands"
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;

public class LetterOperators {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[1]);
        try (ServerSocket listener = new ServerSocket(port, 128, InetAddress.getByName(arguments[0]))) {
            while (true) {
                try {
                    Socket client = listener.accept();
                    new Thread(() -> serve(client)).start();
                } catch (IOException error) {
                    // No free descriptor: a client that leaves frees one.
                    Thread.sleep(50);
                }
            }
        }
    }

    private static void serve(Socket client) {
        try (client) {
            var lines = new BufferedReader(new InputStreamReader(client.getInputStream()));
            var replies = new PrintWriter(client.getOutputStream(), true);
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                replies.println(answer(line.trim().split(" ")));
            }
        } catch (IOException error) {
            System.err.println(error.getMessage());
        }
    }

    private static String answer(String[] words) {
        try {
            double left = Double.parseDouble(words[0]), right = Double.parseDouble(words[2]);
            return switch (words[1]) {
                case "A" -> String.valueOf(left + right);
                case "S" -> String.valueOf(left - right);
                case "M" -> String.valueOf(left * right);
                case "D" -> right == 0 ? "error: division by zero" : String.valueOf(left / right);
                default -> "error: unknown operator " + words[1];
            };
        } catch (RuntimeException error) {
            return "error: number letter number";
        }
    }
}
