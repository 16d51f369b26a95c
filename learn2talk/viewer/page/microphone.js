/*! learn2talk viewer, Apache-2.0. Contains three.js 0.187.0:
The MIT License

Copyright © 2010-2026 three.js authors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in
all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN
THE SOFTWARE.
*/
function g(l,t){return t===0?l:g(t,l%t)}var u=class{constructor(t,e){let h=g(t,e);this.up=e/h,this.down=t/h;let s=.94*Math.min(1,e/t);this.half=Math.ceil(12/s),this.weights=Array.from({length:this.up},(i,o)=>this._weights(o,s)),this.kept=new Float32Array(this.half),this.firstKept=-this.half,this.made=0}_weights(t,e){let h=t/this.up,s=Float32Array.from({length:2*this.half},(o,r)=>{let a=r-this.half+1-h,n=Math.PI*e*a,c=n===0?1:Math.sin(n)/n,f=Math.cos(Math.PI*a/(2*this.half))**2;return Math.abs(a)<this.half?c*f:0}),i=s.reduce((o,r)=>o+r,0);return s.map(o=>o/i)}push(t){let{half:e,up:h,down:s}=this,i=new Float32Array(this.kept.length+t.length);i.set(this.kept),i.set(t,this.kept.length);let o=this.firstKept+i.length,r=[];for(;;){let c=Math.floor(this.made*s/h);if(c+e>=o)break;let f=this.weights[this.made*s%h],w=c-e+1-this.firstKept,m=0;for(let p=0;p<f.length;p++)m+=f[p]*i[w+p];r.push(m),this.made+=1}let a=Math.floor(this.made*s/h)-e+1,n=Math.max(0,a-this.firstKept);return this.kept=i.slice(n),this.firstKept+=n,Float32Array.from(r)}};var d=class extends AudioWorkletProcessor{constructor({processorOptions:{rateHz:t,pieceSamples:e}}){super(),this.resampler=new u(sampleRate,t),this.piece=new Float32Array(e),this.filled=0,this.heard=0}process([t]){if(t.length===0)return!0;let e=new Float32Array(t[0].length);for(let h of t)for(let s=0;s<e.length;s++)e[s]+=h[s]/t.length;this.heard+=e.length;for(let h of this.resampler.push(e)){if(this.piece[this.filled++]=h,this.filled<this.piece.length)continue;let s=this.piece.slice();this.port.postMessage({samples:s,heard_s:this.heard/sampleRate},[s.buffer]),this.filled=0}return!0}};registerProcessor("microphone-tap",d);
