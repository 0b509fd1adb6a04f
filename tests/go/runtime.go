// What Go's run-time asks of a kernel: goroutines on several threads, timers, TCP on loopback,
// garbage collection, signals, a child process. Prints only what is the same each time.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func goroutines() {
	var group sync.WaitGroup
	var sum atomic.Int64
	for i := range 10_000 {
		group.Add(1)
		go func() {
			defer group.Done()
			runtime.Gosched()
			sum.Add(int64(i))
		}()
	}
	group.Wait()
	fmt.Println("goroutines:", sum.Load())
}

// A goroutine that never calls anything is interrupted by a signal.
func preemption() {
	runtime.GOMAXPROCS(1)
	var stop atomic.Bool
	go func() {
		time.Sleep(20 * time.Millisecond)
		stop.Store(true)
	}()
	turns := uint64(0)
	for !stop.Load() {
		turns++
	}
	runtime.GOMAXPROCS(4)
	fmt.Println("preempted:", turns > 0)
}

func network() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				lines := bufio.NewScanner(connection)
				for lines.Scan() {
					fmt.Fprintf(connection, "echo %s\n", lines.Text())
				}
			}()
		}
	}()
	var group sync.WaitGroup
	var good atomic.Int64
	for i := range 50 {
		group.Add(1)
		go func() {
			defer group.Done()
			connection, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				fmt.Println(err)
				return
			}
			defer connection.Close()
			lines := bufio.NewReader(connection)
			for turn := range 10 {
				fmt.Fprintf(connection, "%d.%d\n", i, turn)
				line, err := lines.ReadString('\n')
				if err == nil && line == fmt.Sprintf("echo %d.%d\n", i, turn) {
					good.Add(1)
				}
			}
		}()
	}
	group.Wait()
	fmt.Println("echoes:", good.Load())
	silent, _ := net.Dial("tcp", listener.Addr().String())
	silent.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	_, err = silent.Read(make([]byte, 1))
	timeout, ok := err.(net.Error)
	fmt.Println("deadline:", ok && timeout.Timeout())
	listener.Close()
}

func timers() {
	start := time.Now()
	fired := 0
	ticker := time.NewTicker(2 * time.Millisecond)
	for fired < 5 {
		<-ticker.C
		fired++
	}
	ticker.Stop()
	fmt.Println("ticks:", fired, "forward:", time.Since(start) > 0)
}

type node struct {
	next *node
	data [1000]byte
}

func garbage() {
	var list *node
	for i := range 30_000 {
		if i%1000 == 0 {
			list = nil
		}
		list = &node{next: list}
	}
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("collected:", stats.NumGC > 0, "heap is small:", stats.HeapAlloc < 16<<20, list != nil)
}

func signals() {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGUSR1)
	syscall.Kill(syscall.Getpid(), syscall.SIGUSR1)
	fmt.Println("signal:", <-got)
	func() {
		defer func() { fmt.Println("recovered:", recover()) }()
		var missing *node
		missing.data[0] = 1
	}()
}

func child() {
	output, err := exec.Command("/proc/self/exe", "child").Output()
	fmt.Printf("child: %q %v\n", output, err)
}

func main() {
	if len(os.Args) > 1 {
		fmt.Println("hello from a child")
		return
	}
	goroutines()
	preemption()
	network()
	timers()
	garbage()
	signals()
	child()
}
